//! The admin socket: a file whose permissions say who may give orders.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

/// The user that callway runs as, and that user's group.
const MODE: u32 = 0o660;

/// A bound socket. Its file is removed on drop.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: by now another process may have put its own socket there.
    file: (u64, u64),
}

impl Socket {
    /// Binds it, in place of one that nobody listens on any more; makes its directory if need be.
    pub(super) async fn bind(path: &Path) -> io::Result<Socket> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        clear(path).await?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let socket = Socket {
            file: identity(path)?,
            listener,
            path: path.to_owned(),
        };
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(socket)
    }

    /// For the runtime that serves it.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket stays behind");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes a socket that nobody listens on; a process that was killed leaves it behind.
async fn clear(path: &Path) -> io::Result<()> {
    let refuse = |kind, why| Err(io::Error::new(kind, why));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return refuse(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            );
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Its queue is full, so somebody listens.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => refuse(io::ErrorKind::AddrInUse, "another process listens there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_in_use_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/admin.sock");
        let socket = Socket::bind(&path).await.unwrap();
        let second = Socket::bind(&path).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_that_was_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
        // Somebody else's by now.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&path).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
