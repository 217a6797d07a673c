//! A service on AMQP as others write it: takes requests from a queue and answers to `reply_to`.

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{Amqp, PATIENCE, headers};

/// A running service; ends on drop.
pub struct Service {
    /// The requests it took.
    pub requests: mpsc::Receiver<Delivery>,
    task: JoinHandle<()>,
}

/// What a service does with a request: answers with a status (`""`: none) and a body, or not.
pub type Answers = fn(&Delivery) -> Vec<(&'static str, String)>;

/// Answers with the request's body.
pub fn echo(request: &Delivery) -> Vec<(&'static str, String)> {
    vec![("", String::from_utf8_lossy(&request.data).into_owned())]
}

/// Answers nothing.
pub fn silent(_: &Delivery) -> Vec<(&'static str, String)> {
    Vec::new()
}

impl Service {
    /// Declares the queue and starts to answer.
    pub async fn start(url: &str, queue: &str, answers: Answers) -> Service {
        let client = Amqp::connect(url).await;
        let declared = client.channel.queue_declare(
            queue.into(),
            QueueDeclareOptions::default(),
            Default::default(),
        );
        declared.await.unwrap();
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let taken =
            client
                .channel
                .basic_consume(queue.into(), "".into(), no_ack, Default::default());
        let mut taken = taken.await.unwrap();
        let (sender, requests) = mpsc::channel(1000);
        let task = tokio::spawn(async move {
            while let Some(Ok(request)) = taken.next().await {
                for (status, body) in answers(&request) {
                    answer(&client.channel, &request, status, &body).await;
                }
                sender.try_send(request).unwrap();
            }
        });
        Service { requests, task }
    }

    /// The next request; fails the test if none comes.
    pub async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        next.expect("no request came").expect("the service ended")
    }
}

/// Answers a request.
pub async fn answer(channel: &Channel, request: &Delivery, status: &str, body: &str) {
    let asked = &request.properties;
    let mut properties = BasicProperties::default()
        .with_correlation_id(asked.correlation_id().clone().unwrap())
        .with_content_type(asked.content_type().clone().unwrap());
    if !status.is_empty() {
        properties = properties.with_headers(headers(&[("status", status)]));
    }
    let to = asked.reply_to().clone().unwrap();
    let sent = channel.basic_publish(
        "".into(),
        to,
        Default::default(),
        body.as_bytes(),
        properties,
    );
    sent.await.unwrap();
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
