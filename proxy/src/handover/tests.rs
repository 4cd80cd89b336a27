use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn the_next_instance_has_the_one_before_drain() {
    let place = folder();
    let path = place.path().join("handover");
    let first = Handover::open(&path).unwrap().take_over().await.unwrap();
    let drained = tokio::spawn(async move { first.asked().await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    let second = Handover::open(&path).unwrap().take_over().await.unwrap();
    drained.await.unwrap();
    let drained = tokio::spawn(async move { second.asked().await });
    let third = Handover::open(&path).unwrap().take_over().await.unwrap();
    drained.await.unwrap();
    // Gone without a word: what it left is nobody.
    drop(third);
    Handover::open(&path).unwrap().take_over().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn only_the_right_words_begin_a_drain() {
    let place = folder();
    let path = place.path().join("handover");
    let standby = Handover::open(&path).unwrap().take_over().await.unwrap();
    let drained = tokio::spawn(async move { standby.asked().await });
    for words in [&b"herald 2: drain\n"[..], b"GET / HTTP/1.1\r\n\r\n", b""] {
        let mut stream = UnixStream::connect(path.join(SOCKET)).await.unwrap();
        stream.write_all(words).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        assert_eq!(rest, b"");
    }
    assert!(!drained.is_finished());
    ask(&path.join(SOCKET)).await.unwrap().unwrap();
    drained.await.unwrap();
}

/// Who answers nothing, or something else, is not taken for one that drains: it keeps its place.
#[tokio::test(flavor = "current_thread")]
async fn an_instance_that_does_not_agree_keeps_its_place() {
    let place = folder();
    let path = place.path().join("handover");
    let handover = Handover::open(&path).unwrap();
    let listener = UnixListener::bind(path.join(SOCKET)).unwrap();
    let deaf = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"no\n").await.unwrap();
        listener
    });
    let refused = handover.take_over().await.unwrap_err();
    assert!(matches!(refused, HandoverError::Silent(_)), "{refused}");
    let _listener = deaf.await.unwrap();
    UnixStream::connect(path.join(SOCKET)).await.unwrap();
}

#[test]
fn a_folder_that_others_may_enter_is_refused() {
    let place = folder();
    for mode in [0o755, 0o770, 0o701] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let refused = Handover::open(place.path()).unwrap_err();
        assert!(refused.to_string().ends_with("with mode 0700"), "{refused}");
    }
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    Handover::open(place.path()).unwrap();
    let link = place.path().join("link");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    Handover::open(&link).unwrap_err();
}
