//! The demo's client: asks the service for its page again and again, and notes every interruption.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Between two questions.
const PACE: Duration = Duration::from_millis(10);

/// A question is given up after this.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the client saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Who answered last.
    pub(super) server: Option<String>,
    /// When it answered last.
    pub(super) answered: Option<Instant>,
    /// The service does not answer now.
    pub(super) failing: bool,
    /// How long each interruption was, oldest first.
    pub(super) interruptions: Vec<Duration>,
}

/// A client that runs until it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Client {
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    /// Starts to ask. Must be called within a tokio runtime.
    pub(super) fn start(service: SocketAddrV4) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let client = Self { seen: seen.clone() };
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let answer = tokio::time::timeout(PATIENCE, ask(service)).await.ok().flatten();
                note(&seen, answer);
                tokio::time::sleep(PACE.saturating_sub(began.elapsed())).await;
            }
        });
        client
    }

    /// What it saw up to now.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(seen: &Mutex<Seen>, answer: Option<String>) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Some(server) => {
            let now = Instant::now();
            if seen.failing
                && let Some(last) = seen.answered
            {
                seen.interruptions.push(now - last);
            }
            seen.failing = false;
            seen.answered = Some(now);
            seen.server = Some(server);
        }
        // Before the first answer there is nothing to interrupt.
        None => seen.failing = seen.answered.is_some(),
    }
}

/// The page's first line: the node that serves it.
async fn ask(service: SocketAddrV4) -> Option<String> {
    let mut stream = TcpStream::connect(service).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: demo\r\n\r\n").await.ok()?;
    let mut page = String::new();
    stream.take(4096).read_to_string(&mut page).await.ok()?;
    let (head, body) = page.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.trim().to_owned())
}
