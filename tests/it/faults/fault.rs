//! What can go wrong between callway and the rest of the world.

use std::time::Duration;

use tokio::time::sleep;

use super::id::{FLOWS, Flow};
use super::storage::FailingSync;
use super::world::World;
use crate::eventually;
use crate::support::Proxy;

/// Messages of a flow that show that it works.
const ENOUGH: usize = 8;

/// One fault, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL, and a start a little later.
    KillMosquitto,
    KillRabbit,
    KillCallway,
    /// A reset of all connections on a way.
    Cut(Way),
    /// Nothing is carried on a way for a time.
    Hold(Way, Duration),
    /// SIGSTOP, and SIGCONT after a time.
    PauseMosquitto(Duration),
    PauseRabbit(Duration),
    /// Not a byte left for a time where callway keeps what must survive.
    FillDisk(Duration),
    /// The disk fails when asked to keep what was written.
    FailSync,
}

/// A way to callway that can be cut.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Mosquitto,
    Rabbit,
    Clients,
}

impl World {
    /// Lets it happen, and waits until messages flow on every way again. The error says that this
    /// machine does not permit it.
    pub async fn strike(&mut self, fault: Fault) -> Result<(), String> {
        self.strikes += 1;
        match fault {
            Fault::KillMosquitto => kill_mosquitto(self).await,
            Fault::KillRabbit => kill_rabbit(self).await,
            Fault::KillCallway => self.daemon.restart().await,
            Fault::Cut(way) => cut(self.proxy(way)).await,
            Fault::Hold(way, time) => hold(self.proxy(way), time).await,
            Fault::PauseMosquitto(time) => pause_mosquitto(self, time).await,
            Fault::PauseRabbit(time) => pause_rabbit(self, time).await,
            Fault::FillDisk(time) => fill_disk(self, time).await,
            Fault::FailSync => fail_sync(self).await?,
        }
        // A few more each time, so that faults hit the flows at various places.
        let more = self.strikes * 7 % 30;
        self.accepts(&FLOWS, ENOUGH + more).await;
        Ok(())
    }

    fn proxy(&self, way: Way) -> &Proxy {
        match way {
            Way::Mosquitto => &self.to_mosquitto,
            Way::Rabbit => &self.to_rabbit,
            Way::Clients => &self.to_callway,
        }
    }
}

async fn kill_mosquitto(world: &mut World) {
    world.mosquitto.kill();
    // Nobody waits for a target that is away.
    world
        .accepts(&[Flow::WsToMqtt, Flow::HttpToMqtt], ENOUGH)
        .await;
    world.mosquitto.restart().await;
}

async fn kill_rabbit(world: &mut World) {
    world.rabbit.kill();
    world
        .accepts(&[Flow::MqttToAmqp, Flow::WsToAmqp], ENOUGH)
        .await;
    world.rabbit.restart().await;
}

async fn cut(proxy: &Proxy) {
    // Connections that are just being made anew may be few.
    eventually!(proxy.cut() > 0);
}

async fn hold(proxy: &Proxy, time: Duration) {
    proxy.hold();
    sleep(time).await;
    proxy.release();
}

async fn pause_mosquitto(world: &World, time: Duration) {
    world.mosquitto.pause();
    let accepted = world.accepts(&[Flow::WsToMqtt, Flow::WsToAmqp], ENOUGH);
    tokio::join!(sleep(time), accepted);
    world.mosquitto.resume();
}

async fn pause_rabbit(world: &mut World, time: Duration) {
    world.rabbit.pause();
    let accepted = world.accepts(&[Flow::MqttToAmqp, Flow::WsToMqtt], ENOUGH);
    tokio::join!(sleep(time), accepted);
    world.rabbit.resume();
}

async fn fill_disk(world: &World, time: Duration) {
    let disk = world.disk.as_ref().expect("a world with a small disk");
    let before = world.ledger.refused("storage_full");
    disk.fill();
    eventually!(world.ledger.refused("storage_full") > before + ENOUGH);
    sleep(time).await;
    disk.clear();
}

async fn fail_sync(world: &World) -> Result<(), String> {
    let before = world.ledger.refused("storage_failed");
    let log = world.daemon.directory.path().join("strace");
    let _failing = FailingSync::attach(world.daemon.pid(), &log).await?;
    eventually!(world.ledger.refused("storage_failed") > before + ENOUGH);
    Ok(())
}
