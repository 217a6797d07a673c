//! Calls in and out over a real RabbitMQ.

mod bridge;
mod calls_in;
mod calls_out;
mod hostile;
mod outage;
mod service;
