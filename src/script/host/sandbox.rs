//! Closes the sandbox around a script host: from here on it computes and talks on its socket.
//!
//! The interpreters keep scripts in; this is for the day on which one of them does not. No file
//! can be opened, no socket made, no process started, no memory made executable. It is a list of
//! what is allowed, so system calls to come are refused as well.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{no_new_privs, set_no_new_privs};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// Address space that the process needs beside its scripts. The allocator reserves generously.
const OWN_SPACE: u64 = 2 << 30;

/// Closes it for all threads of this process, for good.
///
/// Fails if a part of it cannot be had. One is tolerated: where a service manager's filter
/// refuses a second filter, that filter must stand (mode 2), and execution and privileges are
/// then bounded by it and by `no_new_privs`; the shipped unit allows `seccomp`.
pub fn close(memory: u64) -> io::Result<()> {
    let standing = filtered();
    set_no_new_privs(true)?;
    if !no_new_privs()? {
        return Err(io::Error::other("no_new_privs is not to be had"));
    }
    limit(Resource::As, OWN_SPACE + memory.saturating_mul(8))?;
    for resource in [
        Resource::Core,
        Resource::Fsize,
        Resource::Nproc,
        Resource::Nofile,
    ] {
        limit(resource, 0)?;
    }
    match apply_filter_all_threads(&filter().map_err(io::Error::other)?) {
        Ok(()) => Ok(()),
        Err(_refused) if standing => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let new = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    Ok(setrlimit(resource, new)?)
}

/// Whether a filter was put upon this process before.
fn filtered() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line == "Seccomp:\t2"))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_read,
        libc::SYS_recvfrom,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_write,
        libc::SYS_writev,
    ]
    .into_iter()
    .map(|number| (number, Vec::new()))
    .collect();
    // Memory, but none that can be executed; the third argument says what it is for.
    for number in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable = libc::PROT_EXEC as u64;
        let masked = SeccompCmpOp::MaskedEq(executable);
        let plain = SeccompCondition::new(2, SeccompCmpArgLen::Dword, masked, 0)?;
        rules.insert(number, vec![SeccompRule::new(vec![plain])?]);
    }
    // Sending is sendto without an address: the socket is connected already.
    let unaddressed = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![unaddressed])?]);
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}
