//! An arbitrator as a process would be: a file of booth, a socket, and a memory.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests are tests")]

use hakudo_arbitrator::{Config, run};
use hakudo_link::setup::Own;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hakudo-arbitrator-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn config(folder: &Path) -> Config {
    let key = folder.join("key");
    std::fs::write(&key, [9; 32]).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let conf = folder.join("booth.conf");
    let text = format!("authfile = {}\nsite = 127.0.0.21\narbitrator = 127.0.0.22\nticket = T\n", key.display());
    std::fs::write(&conf, text).unwrap();
    Config {
        own: Own {
            config: Some(conf),
            member: Some("127.0.0.22".into()),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..Own::default()
        },
        state_dir: folder.join("state"),
        socket: folder.join("socket"),
        pid_file: None,
    }
}

/// What the arbitrator answers to these bytes, sent behind their length.
fn ask(socket: &Path, body: &[u8]) -> String {
    let begun = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "nobody listens: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut reply).unwrap();
    String::from_utf8(reply).unwrap()
}

#[test]
fn it_answers_at_its_socket_and_is_alone_with_its_memory() {
    let folder = folder("answers");
    let config = config(&folder);
    let first = config.clone();
    // It runs until the test program ends.
    std::thread::spawn(move || run(&first));
    let status = ask(&config.socket, br#"{"request":"tickets","ask":"Status"}"#);
    assert!(status.contains(r#""reply":"tickets""#) && status.contains(r#""name":"127.0.0.22""#), "{status}");
    let nonsense = ask(&config.socket, b"{}");
    assert!(nonsense.contains("makes no sense"), "{nonsense}");
    let second = run(&Config { socket: folder.join("other"), ..config }).unwrap_err();
    assert!(format!("{second:#}").contains("another arbitrator runs already"), "{second:#}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn it_does_not_begin_without_a_memory_that_is_there() {
    let folder = folder("memory");
    let config = config(&folder);
    std::fs::create_dir_all(&config.state_dir).unwrap();
    let file = config.state_dir.join("member");
    for (content, why) in [(&b"nonsense"[..], "damaged"), (&[1, 0, 0][..], "is of format 1, and this version")] {
        std::fs::write(&file, content).unwrap();
        let error = format!("{:#}", run(&config).unwrap_err());
        assert!(error.contains(why) && error.contains(&file.display().to_string()), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
