//! Debian's boothd on a machine of the lab.
//!
//! booth 1.0 looks for its own address by asking the kernel, and waits for an end of the answer that kernels since 6.9 send
//! together with the last address of IPv6: it waits for ever. A machine without addresses of IPv6 does not have this.
//!
//! At a site boothd calls `crm_ticket`: that of hakudo where the site is a cluster. Where it is none, a script stands in for it,
//! which keeps each ticket in a file, as `crm_ticket -q` would show it, and notes when it was granted and revoked.

use crate::lab::{ARBITRATOR, Boothd, Lab};
use crate::shell;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// The program.
pub(crate) const BOOTHD: &str = "/usr/sbin/boothd";

const CRM_TICKET: &str = r#"#!/bin/sh
# Exit codes: 6 no such ticket, 1 where a confirmation would be asked for.
ticket= mode= attributes=
while [ $# -gt 0 ]; do
    case $1 in
    -t) ticket=$2; shift ;;
    -q) mode=query ;;
    -g) mode=grant ;;
    -r) mode=revoke ;;
    -S) name=$2; shift ;;
    -v) attributes="$attributes $name=\"$2\""; shift ;;
    -v*) attributes="$attributes $name=\"${1#-v}\"" ;;
    --attr-value=*) attributes="$attributes $name=\"${1#--attr-value=}\"" ;;
    esac
    shift
done
file=$TICKETS/$ticket
say() {
    echo "<ticket_state id=\"$ticket\" granted=\"$1\"$attributes/>" > "$file.new" && mv "$file.new" "$file"
    echo "$(date +%s%N) $1" >> "$TICKETS/log"
}
case $mode in
query) [ -f "$file" ] || exit 6; printf 'State XML:\n\n'; cat "$file" ;;
grant) [ "$ticket" = any-ticket-name ] && exit 1; say true ;;
revoke) say false ;;
esac
"#;

impl Lab {
    fn tickets_of(&self, node: &str) -> PathBuf {
        self.directory.join(node).join("tickets")
    }

    /// Starts boothd on a machine: it finds out itself which member it is.
    pub(crate) fn start_boothd(&mut self, node: &str) -> Result<()> {
        let (tickets, bin) = (self.tickets_of(node), self.directory.join("stand-in"));
        fs::create_dir_all(&tickets)?;
        // boothd gives its rights up before it calls anything.
        fs::set_permissions(&tickets, fs::Permissions::from_mode(0o777))?;
        fs::create_dir_all(&bin)?;
        let script = bin.join("crm_ticket");
        fs::write(&script, CRM_TICKET)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let (bin, tickets) = match self.boothd {
            Boothd::Clusters => {
                let socket = self.machine(node)?.socket();
                (self.directory.join("bin"), format!("HAKUDO_SOCKET={}", socket.display()))
            }
            _ => (bin, format!("TICKETS={}", tickets.display())),
        };
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let conf = self.directory.join("booth.conf").display().to_string();
        let lock = self.directory.join(node).join("boothd.pid").display().to_string();
        let machine = self.machine(node)?;
        machine.run(&["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])?;
        machine
            .start_program("boothd", &["env", &path, &tickets, BOOTHD, "daemon", "-D", "-S", "-c", &conf, "-l", &lock])
    }

    /// What booth's own client says to these words, asked from a machine.
    pub(crate) fn booth(&mut self, node: &str, words: &[&str]) -> Result<String> {
        let conf = self.directory.join("booth.conf").display().to_string();
        let words = [&[BOOTHD, "client"], words, &["-c", &conf]].concat();
        self.machine(node)?.run(&words)
    }

    /// What booth's own client lists when it asks the arbitrator.
    pub(crate) fn listed_at_arbitrator(&mut self, from: &str) -> Result<String> {
        let address = self.network.address(ARBITRATOR, 0)?.to_string();
        self.booth(from, &["list", "-s", &address])
    }

    /// When the ticket was granted to and taken from the site of a boothd: nanoseconds since 1970, and which.
    pub(crate) fn history_of(&self, node: &str) -> Result<Vec<(u128, bool)>> {
        let file = self.tickets_of(node).join("log");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = |line: &str| {
            let (time, granted) = line.split_once(' ').context("two words")?;
            Ok((time.parse()?, granted == "true"))
        };
        text.lines().map(line).collect::<Result<_>>().with_context(|| file.display().to_string())
    }

    /// Waits until booth's client says something that fits.
    pub(crate) fn wait_for_list(&mut self, from: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        shell::wait_for("what booth's client lists", Duration::from_secs(30), || {
            let text = self.listed_at_arbitrator(from)?;
            if fits(&text) { Ok(Some(text)) } else { bail!("it lists {}", text.trim()) }
        })
    }
}
