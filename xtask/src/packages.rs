//! Debian's packages that the tests need.

use crate::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// A package, and a file that tells that it is there.
struct Package {
    name: &'static str,
    file: &'static str,
}

/// What the unit tests compare with.
const PEERS: &[Package] = &[Package { name: "corosync-vqsim", file: "/usr/bin/corosync-vqsim" }];

/// What the lab runs.
const LAB: &[Package] = &[
    Package { name: "iproute2", file: "/usr/bin/ip" },
    Package { name: "iptables", file: "/usr/sbin/iptables" },
    Package { name: "procps", file: "/usr/bin/pgrep" },
    Package { name: "kmod", file: "/usr/sbin/modprobe" },
    Package { name: "psmisc", file: "/usr/bin/killall" },
    Package { name: "curl", file: "/usr/bin/curl" },
    Package { name: "e2fsprogs", file: "/usr/sbin/mkfs.ext4" },
    Package { name: "resource-agents", file: "/usr/lib/ocf/resource.d/heartbeat/IPaddr2" },
    Package { name: "nginx-light", file: "/usr/sbin/nginx" },
    // Its users are Pacemaker's.
    Package { name: "pacemaker-common", file: "/etc/default/pacemaker" },
    Package { name: "booth", file: "/usr/sbin/boothd" },
    Package { name: "postgresql", file: "/usr/share/postgresql-common/pg_wrapper" },
];

/// What the benchmark measures beside hakudo.
const MEASURED: &[Package] = &[
    Package { name: "corosync", file: "/usr/sbin/corosync" },
    Package { name: "pacemaker", file: "/usr/sbin/pacemakerd" },
    Package { name: "pacemaker-resource-agents", file: "/usr/lib/ocf/resource.d/pacemaker/Dummy" },
    Package { name: "pacemaker-cli-utils", file: "/usr/sbin/crm_mon" },
    Package { name: "iproute2", file: "/usr/bin/ip" },
];

/// Installs the missing packages, where this user may.
///
/// Services are kept from starting while packages are installed: the tests start their own.
pub(crate) fn install() -> Result<()> {
    install_missing(PEERS.iter().chain(LAB))
}

/// Installs what the benchmark compares with.
pub(crate) fn install_peer() -> Result<()> {
    install_missing(MEASURED)
}

fn install_missing(wanted: impl IntoIterator<Item = &'static Package>) -> Result<()> {
    let missing: Vec<&str> = wanted.into_iter().filter(|p| !Path::new(p.file).exists()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !process::is_installed("apt-get") {
        bail!("these Debian packages (or what they hold) are missing, and there is no apt-get: {}", missing.join(" "));
    }
    if !process::is_root() {
        println!(
            "Not installed, for want of root: {}. The tests that need them will say that they were skipped; to have \
             them all, run: sudo apt-get install {}",
            missing.join(", "),
            missing.join(" ")
        );
        return Ok(());
    }
    let policy = Policy::forbid_services()?;
    process::run(&["apt-get", "-q", "update"]).context("cannot update the list of packages")?;
    let mut words = vec!["apt-get", "-q", "-y", "--no-install-recommends", "install"];
    words.extend(&missing);
    println!("\n== {}", words.join(" "));
    let status = process::command(&words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).status()?;
    drop(policy);
    if !status.success() {
        bail!("apt-get could not install {} ({status})", missing.join(" "));
    }
    Ok(())
}

/// A `policy-rc.d` that lets no package start a service, for as long as this value lives.
struct Policy {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl Policy {
    fn forbid_services() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        process::run(&["chmod", "755", POLICY])?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            // Where this fails, the file stays and services do not start by themselves: visible, and harmless to tests.
            let _ = fs::remove_file(POLICY);
        }
    }
}
