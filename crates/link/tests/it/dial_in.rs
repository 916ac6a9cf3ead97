//! QEMUs that come to us: a socket of ours, and who connects to it.

use crate::support::{Folder, Raw, event, heard, ms, server};
use qev_link::{ConnectError, ConnectOptions, DialIn, MonitorOptions, server::StartError};
use std::os::unix::fs::MetadataExt;
use tokio::net::{UnixListener, UnixStream};

#[tokio::test(start_paused = true)]
async fn each_that_dials_becomes_a_client_and_is_known_by_its_process() {
    let folder = Folder::new();
    let dial_in = DialIn::bind(&folder.file("attach.sock")).unwrap();
    let machine = server().await;
    for _ in 0..2 {
        let stream = UnixStream::connect(dial_in.path()).await.unwrap();
        machine.over(stream, MonitorOptions::default()).await.unwrap();
    }
    let mut attached = Vec::new();
    for _ in 0..2 {
        let caller = dial_in.accept().await.unwrap();
        assert_eq!(caller.peer().pid, Some(std::process::id()));
        assert_eq!(caller.peer().uid, std::fs::metadata("/proc/self").unwrap().uid());
        attached.push(caller.connect(ConnectOptions::default()).await.unwrap());
    }
    machine.emit(event("STOP", None)).await.unwrap();
    for (_client, events) in &mut attached {
        assert_eq!(heard(events, 1).await, [r#"{"event": "STOP"}"#]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_speak_is_named() {
    let folder = Folder::new();
    let path = folder.file("attach.sock");
    let dial_in = DialIn::bind(&path).unwrap();
    let _silent = UnixStream::connect(&path).await.unwrap();
    let error = dial_in.accept().await.unwrap().connect(ConnectOptions::default().greeting_timeout(ms(50))).await;
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
    let named = format!("process {} of user", std::process::id());
    assert!(error.to_string().contains(&named), "{error}");

    let mut human = Raw::new(UnixStream::connect(&path).await.unwrap());
    human.say("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ").await;
    let error = dial_in.accept().await.unwrap().connect(ConnectOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ConnectError::HumanMonitor { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_one_in_use_left_alone_and_ours_removed() {
    let folder = Folder::new();
    let path = folder.file("attach.sock");
    drop(UnixListener::bind(&path).unwrap());
    let dial_in = DialIn::bind(&path).unwrap();
    assert!(matches!(DialIn::bind(&path), Err(StartError::InUse { .. })));
    drop(dial_in);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(DialIn::bind(&path), Err(StartError::NotASocket { .. })));
}
