//! Network namespaces: naming them and working inside them.
//!
//! `setns` changes the calling *thread*. Whoever did that on a thread of a pool
//! would leave every later task of that thread in the wrong network, so work in
//! another namespace happens on a thread of its own that ends with the work.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Context, Error, Result};
use crate::mount;

/// Where `ip netns` keeps its named namespaces.
const NAMED: &str = "/run/netns";

/// An open network namespace; it lives at least as long as this value.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// Opens the namespace bound to `path` (`/proc/<pid>/ns/net`, `/run/netns/<name>`).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).context(|| format!("open the network namespace {}", path.display()))?;
        Ok(Self { file, path })
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Makes a new namespace, held only by the returned value (and whatever is
    /// started in it). Its loopback is down.
    pub fn unnamed() -> Result<Self> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context(|| "make a network namespace".to_owned())?;
            Self::current()
        })
    }

    /// Makes a new namespace bound to `/run/netns/<name>`, where `ip netns exec`
    /// and other processes find it. The name must be free.
    pub fn named(name: &str) -> Result<Self> {
        std::fs::create_dir_all(NAMED).context(|| format!("create {NAMED}"))?;
        Self::bound(&Path::new(NAMED).join(name))
    }

    /// Makes a new namespace and binds it to a new file at `path`.
    pub fn bound(path: &Path) -> Result<Self> {
        let what = || format!("create {}", path.display());
        File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .context(what)?;
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context(|| "make a network namespace".to_owned())?;
            mount::bind(Path::new("/proc/thread-self/ns/net"), path, false)
        });
        if let Err(e) = made {
            let _ = std::fs::remove_file(path);
            return Err(e);
        }
        Self::open(path)
    }

    /// Unbinds a namespace made by [`Self::named`] or [`Self::bound`]; one that
    /// is gone already is fine.
    pub fn unbind(path: &Path) -> Result<()> {
        mount::unmount(path, mount::Unmount::Lazy)?;
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::os(format!("remove {}", path.display()), e))
            }
            _ => Ok(()),
        }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside this namespace, on a thread that lives for it alone,
    /// and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            setns(self.as_fd(), CloneFlags::CLONE_NEWNET)
                .context(|| format!("enter the network namespace {}", self.path.display()))?;
            work()
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, work)
            .context(|| "start a thread".to_owned())?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests;
