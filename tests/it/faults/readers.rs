//! A thousand subscribers of one channel, of whom a hundred stop reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::Sum;
use super::line::Line;
use super::report::{self, is_long};
use crate::eventually;
use crate::support::{Daemon, Setup};

const READERS: usize = 1000;
const SLOW: usize = 100;
/// Of each event. The system takes some megabytes for a reader before callway notices.
const SIZE: usize = 32 * 1024;
/// Events that everyone has to get; more follow until the slow ones are cut.
const EVENTS: usize = 50;
const ENDLESS: usize = 1000;
/// No reader is cut for anything but what it leaves unread.
const CONFIG: &str = r#"
    [[channel]]
    name = "news"
    [limits]
    ping = "10m"
"#;

#[tokio::test]
async fn readers_that_stop_are_cut_and_the_others_notice_nothing() {
    let start = Instant::now();
    let alone = match is_long() {
        true => Some(publish_to(0).await),
        false => None,
    };
    let beside = publish_to(SLOW).await;
    let sum = Sum {
        attempts: beside.published,
        acknowledged: beside.published,
        delivered: beside.published,
        ..Sum::default()
    };
    report::line("slow readers", "ws→ws", &sum, start);
    println!("p99 beside {SLOW} readers that stopped: {:?}", beside.p99);
    if let Some(alone) = alone {
        let ratio = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
        println!("without them: {:?}, a ratio of {ratio:.2}", alone.p99);
    }
}

/// What came of a run.
struct Run {
    published: usize,
    /// From publishing to arrival, over all readers that read.
    p99: Duration,
}

/// Publishes until as many are cut as stopped reading; the others must get every event, in order.
/// The next event follows when they have it: the readers are to be slow, not the machine.
async fn publish_to(slow: usize) -> Run {
    let daemon = Setup::new().config(CONFIG).start().await;
    let epoch = Instant::now();
    let arrived = Arc::new(AtomicUsize::new(0));
    let (publishing, published) = watch::channel(None);
    let (mut reading, mut stopped) = (JoinSet::new(), JoinSet::new());
    for number in 0..READERS {
        let line = subscribe(&daemon, number < slow).await;
        if number < slow {
            stopped.spawn(stop_reading(line, published.clone()));
        } else {
            reading.spawn(read(line, epoch, published.clone(), arrived.clone()));
        }
    }
    let mut publisher = Line::open(daemon.address.port()).await.unwrap();
    let fill = "x".repeat(SIZE);
    let mut count = 0;
    while count < EVENTS || cut_off(&daemon).await < slow {
        assert!(count < ENDLESS, "only {} were cut", cut_off(&daemon).await);
        let sent = epoch.elapsed().as_micros();
        let event = format!(r#"{{"number":{count},"sent":{sent},"fill":"{fill}"}}"#);
        let params = format!(r#","params":{{"channel":"news","payload":{event}}}"#);
        let response = publisher.request("callway.publish", &params).await.unwrap();
        assert!(response.get("result").is_some(), "{response}");
        count += 1;
        eventually!(arrived.load(Ordering::Relaxed) == count * (READERS - slow));
    }
    publishing.send_replace(Some(count));
    let codes = stopped.join_all().await;
    assert_eq!(codes, vec![Some(4008); slow]);
    let mut delays = reading.join_all().await.concat();
    delays.sort();
    eventually!(daemon.metric(r#"callway_connections{via="ws"}"#).await == 1.0);
    Run {
        published: count,
        p99: delays[delays.len() * 99 / 100],
    }
}

/// How many readers were too slow.
async fn cut_off(daemon: &Daemon) -> usize {
    let metric = r#"callway_limit_reached_total{limit="send_queue"}"#;
    daemon.metric(metric).await as usize
}

async fn subscribe(daemon: &Daemon, slow: bool) -> Line {
    let socket = TcpSocket::new_v4().unwrap();
    if slow {
        // The system reads a little for those who do not.
        socket.set_recv_buffer_size(4096).unwrap();
    }
    let stream = socket.connect(daemon.address).await.unwrap();
    let mut line = Line::over(stream).await.unwrap();
    let params = r#","params":{"channel":"news"}"#;
    let response = line.request("callway.subscribe", params).await.unwrap();
    assert!(response.get("result").is_some(), "{response}");
    line
}

/// Reads nothing until all is published, then what is left.
async fn stop_reading(line: Line, mut published: watch::Receiver<Option<usize>>) -> Option<u16> {
    published.wait_for(Option::is_some).await.unwrap();
    line.close_code().await
}

/// Reads every event; says how long each was under way.
async fn read(
    mut line: Line,
    epoch: Instant,
    mut published: watch::Receiver<Option<usize>>,
    arrived: Arc<AtomicUsize>,
) -> Vec<Duration> {
    let mut delays = Vec::new();
    loop {
        let text = tokio::select! {
            text = line.text() => text.expect("a good reader is cut off"),
            _ = published.wait_for(Option::is_some) => return delays,
        };
        let sent = sent_at(&text, delays.len());
        delays.push(epoch.elapsed().saturating_sub(sent));
        arrived.fetch_add(1, Ordering::Relaxed);
    }
}

/// When this event was sent; it must have this number.
fn sent_at(text: &str, number: usize) -> Duration {
    let payload = format!(r#""payload":{{"number":{number},"sent":"#);
    let (_, rest) = text.split_once(&payload).expect("not the next event");
    let (micros, _) = rest.split_once(',').unwrap();
    Duration::from_micros(micros.parse().unwrap())
}
