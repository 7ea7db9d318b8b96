//! Debian's php-fpm with a folder of scripts, for as long as a test needs it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness::{eventually, free_port};

pub struct PhpServer {
    child: Child,
    /// As a document writes it.
    pub address: String,
    /// The folder of an application: scripts and files are in `public`.
    pub dir: tempfile::TempDir,
    socket_folder: Option<tempfile::TempDir>,
}

/// Its program's name has the version of PHP in it, and is on an administrator's PATH only.
fn program() -> PathBuf {
    let programs = fs::read_dir("/usr/sbin").unwrap().flatten().map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut all: Vec<_> = programs.filter(|path| name(path).starts_with("php-fpm")).collect();
    all.sort();
    all.pop().expect("php-fpm is installed (tools/install.sh test)")
}

impl PhpServer {
    /// With these scripts and files below `public`, on a port.
    pub fn start(scripts: &[(&str, &str)]) -> PhpServer {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let is_there = move || TcpStream::connect(address).is_ok();
        PhpServer::listening(scripts, (address.to_string(), address.to_string()), is_there)
    }

    /// The same at a Unix socket in its folder.
    pub fn at_unix_socket(scripts: &[(&str, &str)]) -> PhpServer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fpm.sock");
        let (listens, own) = (path.display().to_string(), path.clone());
        let is_there = move || UnixStream::connect(&own).is_ok();
        let at = (listens.clone(), format!("unix:{listens}"));
        let mut server = PhpServer::listening(scripts, at, is_there);
        server.socket_folder = Some(folder);
        server
    }

    /// `listens` is what php-fpm calls it, `address` what a document does.
    fn listening(
        scripts: &[(&str, &str)],
        (listens, address): (String, String),
        is_there: impl Fn() -> bool,
    ) -> PhpServer {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in scripts {
            let path = dir.path().join("public").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let user = match rustix::process::geteuid().is_root() {
            true => "user = root\ngroup = root\n",
            false => "",
        };
        let config = format!(
            "[global]\nerror_log = {0}/fpm.log\n[www]\n{user}listen = {listens}\npm = static\n\
             pm.max_children = 2\nphp_admin_flag[log_errors] = on\nphp_admin_value[upload_max_filesize] = 50M\n\
             php_admin_value[post_max_size] = 50M\n",
            dir.path().display(),
        );
        fs::write(dir.path().join("fpm.conf"), config).unwrap();
        let child = Command::new(program())
            .args(["--nodaemonize", "--allow-to-run-as-root", "--no-php-ini", "--fpm-config"])
            .arg(dir.path().join("fpm.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("php-fpm", || is_there().then_some(()));
        PhpServer { child, address, dir, socket_folder: None }
    }

    pub fn root(&self) -> String {
        self.dir.path().join("public").display().to_string()
    }
}

impl Drop for PhpServer {
    fn drop(&mut self) {
        // Its processes end with it when it is asked to end, not when it is killed.
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
