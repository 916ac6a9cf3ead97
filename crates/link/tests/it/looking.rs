//! A look at a monitor before it is connected to, and who may connect to a socket of ours.

use crate::support::Folder;
use qev_link::{Access, DialIn, Sockets};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tokio::net::{UnixListener, UnixStream};

#[tokio::test]
async fn a_monitor_that_is_held_or_waited_for_is_not_free() {
    let folder = Folder::new();
    let path = folder.file("qmp.sock");
    assert!(!Sockets::look().await.unwrap().at(&path).is_listening);
    let listener = UnixListener::bind(&path).unwrap();
    assert!(Sockets::look().await.unwrap().at(&path).is_free());

    let first = UnixStream::connect(&path).await.unwrap();
    let standing = Sockets::look().await.unwrap().at(&path);
    assert!(standing.is_listening && !standing.is_free());
    assert_eq!((standing.waiting.len(), standing.clients.len()), (1, 0));

    let (accepted, _) = listener.accept().await.unwrap();
    let second = UnixStream::connect(&path).await.unwrap();
    let standing = Sockets::look().await.unwrap().at(&path);
    assert_eq!((standing.waiting.len(), standing.clients.len()), (1, 1));
    let holders = Sockets::holders(standing.clients.clone()).await;
    assert_eq!(holders[&standing.clients[0]].pid, std::process::id());

    // Neither end of the listener's has noticed that its client has left.
    drop((first, second));
    let standing = Sockets::look().await.unwrap().at(&path);
    assert!(standing.is_free(), "{standing:?}");
    assert_eq!(standing.abandoned, 2);

    drop((listener, accepted));
    assert!(!Sockets::look().await.unwrap().at(&path).is_listening, "nobody is behind the file any more");
}

/// A QEMU whose file was removed listens on, and another one may listen at the path.
#[tokio::test]
async fn a_socket_is_known_by_its_file_and_not_by_its_path() {
    let folder = Folder::new();
    let path = folder.file("qmp.sock");
    let old = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).await.unwrap();
    let (_accepted, _) = old.accept().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!Sockets::look().await.unwrap().at(&path).is_listening, "nobody can get there");
    let _new = UnixListener::bind(&path).unwrap();
    assert!(Sockets::look().await.unwrap().at(&path).is_free(), "the client is the other one's");
    let link = folder.file("link.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Sockets::look().await.unwrap().at(&link).is_free());
}

#[tokio::test]
async fn who_may_connect_is_as_was_asked_for_and_an_inherited_socket_keeps_its_file() {
    let folder = Folder::new();
    let path = folder.file("attach.sock");
    let group = std::fs::metadata(folder.as_ref()).unwrap().gid();
    for mode in [0o666, 0o660] {
        let _dial_in = DialIn::bind_for(&path, Access { mode: Some(mode), group: Some(group) }).unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!((file.permissions().mode() & 0o777, file.gid()), (mode, group));
    }
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let dial_in = DialIn::inherit(listener).unwrap();
    assert_eq!(dial_in.path(), path);
    let (caller, _stream) = tokio::join!(dial_in.accept(), UnixStream::connect(&path));
    assert_eq!(caller.unwrap().peer().pid, Some(std::process::id()));
    drop(dial_in);
    assert!(path.exists());
}
