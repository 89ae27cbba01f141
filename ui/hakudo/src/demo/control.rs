//! Orders to a running demo: `hakudo demo kill n1` in one terminal reaches the demo in another one. An order is one line,
//! its answer is the rest of the connection.

use super::layout::Layout;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

/// An order, and where its answer goes.
pub(super) struct Order {
    pub(super) words: Vec<String>,
    pub(super) answer: oneshot::Sender<String>,
}

/// Takes orders. Must be called within a tokio runtime.
pub(super) fn listen(layout: &Layout) -> Result<mpsc::Receiver<Order>> {
    let listener = UnixListener::bind(layout.control()).context("cannot listen for orders")?;
    let (orders, queue) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let orders = orders.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                if stream.read_line(&mut line).await.is_err() {
                    return;
                }
                let (answer, wait) = oneshot::channel();
                let words = line.split_whitespace().map(str::to_owned).collect();
                if orders.send(Order { words, answer }).await.is_ok()
                    && let Ok(text) = wait.await
                {
                    // Whoever asked may have gone.
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            });
        }
    });
    Ok(queue)
}

/// Whether a demo runs.
pub(super) fn is_running(layout: &Layout) -> bool {
    UnixStream::connect(layout.control()).is_ok()
}

/// Gives an order to the running demo and returns its answer.
pub(super) fn order(layout: &Layout, words: &[&str]) -> Result<String> {
    let mut stream = UnixStream::connect(layout.control())
        .context("no demo is running; start it in another terminal: hakudo demo")?;
    stream.write_all(format!("{}\n", words.join(" ")).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if let Some(error) = answer.strip_prefix("error: ") {
        bail!("{}", error.trim_end());
    }
    Ok(answer)
}
