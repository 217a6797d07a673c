//! `[admin]`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Reading, listen};
use crate::config::load::Environment;
use crate::config::node::{Node, Sources};
use crate::config::report::Problems;
use crate::config::{Admin, AdminSocket};

/// Where commands look for the daemon unless told otherwise.
pub const ADMIN_SOCKET: &str = "/run/callway/admin.sock";

/// The admin socket alone, of a tree that need not be right elsewhere.
pub fn admin_socket(
    root: &Node,
    sources: &mut Sources,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let mut reading = Reading {
        root,
        routes: HashMap::new(),
        sources,
        environment,
        problems,
    };
    socket(&mut reading).map(|socket| socket.path)
}

pub(super) fn admin(reading: &mut Reading<'_>) -> Admin {
    Admin {
        address: address(reading),
        socket: socket(reading),
    }
}

fn address(reading: &mut Reading<'_>) -> Option<SocketAddr> {
    let root = reading.root;
    let node = root.get("admin").and_then(|admin| admin.get("address"));
    let Some(node) = node else {
        return Some(([127, 0, 0, 1], 9464).into());
    };
    let address = match node.text().unwrap_or_default() {
        "" => None,
        text => reading.keep(node, listen::address(text)),
    };
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        reading.problem(
            node,
            "health and metrics need no token, so they stay on a loopback address",
        );
    }
    address
}

fn socket(reading: &mut Reading<'_>) -> Option<AdminSocket> {
    let root = reading.root;
    let node = root.get("admin").and_then(|admin| admin.get("socket"));
    let Some(node) = node else {
        return Some(AdminSocket {
            path: ADMIN_SOCKET.into(),
            required: false,
        });
    };
    if node.text() == Some("") {
        return None;
    }
    let path = reading.path(node)?;
    Some(AdminSocket {
        path,
        required: true,
    })
}
