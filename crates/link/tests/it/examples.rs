//! The examples are run: one watches what the other emits.

use crate::support::Folder;
use qev_link::Target;
use std::time::Duration;

#[path = "../../examples/smallest_emitter.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod smallest_emitter;

#[path = "../../examples/smallest_watcher.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod smallest_watcher;

#[tokio::test(start_paused = true)]
async fn the_smallest_watcher_sees_what_the_smallest_emitter_emits() {
    let folder = Folder::new();
    let path = folder.file("vm.sock");
    let mut output = Vec::new();
    let target = Target::from(path.clone());
    let (emitted, watched) = tokio::join!(smallest_emitter::emit(path.to_str().unwrap(), 3), async {
        // Once the emitter listens.
        tokio::time::sleep(Duration::from_millis(1)).await;
        smallest_watcher::watch(&target, &mut output).await
    });
    emitted.unwrap();
    watched.unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 4, "{output}");
    for (line, mebibytes) in lines.iter().zip([3, 2, 1]) {
        let data = format!(r#""event": "BALLOON_CHANGE", "data": {{"actual": {}}}}}"#, mebibytes << 20);
        assert!(line.starts_with(r#"{"timestamp": {"seconds": "#) && line.ends_with(&data), "{line}");
    }
    assert_eq!(lines.last(), Some(&"(the peer closed the connection)"));
}
