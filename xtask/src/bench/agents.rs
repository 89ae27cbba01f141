//! The agents of the benchmark: one that writes down when it did what, and one for the power switch. They are installed on
//! this machine as long as the benchmark runs, because every node sees its folders of programs.

use super::machine::INSIDE;
use anyhow::Result;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const FOLDER: &str = "/usr/lib/ocf/resource.d/hkbench";
const FENCE_AGENT: &str = "/usr/sbin/fence_hkbench";

const RECORD_AGENT: &str = "/usr/lib/ocf/resource.d/hkbench/Record";

/// The agent of the many resources.
pub(super) const DUMMY_AGENT: &str = "/usr/lib/ocf/resource.d/hkbench/Dummy";

/// They are there as long as this value lives.
pub(super) struct Installed;

impl Installed {
    pub(super) fn install() -> Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let installed = Self;
        write(RECORD_AGENT, RECORD)?;
        write(DUMMY_AGENT, DUMMY)?;
        write(FENCE_AGENT, FENCE)?;
        Ok(installed)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // They are of no use to anyone else.
        let _ = fs::remove_dir_all(FOLDER);
        let _ = fs::remove_file(FENCE_AGENT);
    }
}

fn write(place: &str, text: &str) -> Result<()> {
    fs::write(place, text.replace("INSIDE", INSIDE))?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// As little work as a shell script can do, so that what is measured is the cluster.
const RECORD: &str = r#"#!/bin/bash
# Runs nothing; writes every call to a record with its time.
state=/run/hkbench-$OCF_RESOURCE_INSTANCE
read -r host < /proc/sys/kernel/hostname
say() { echo "$EPOCHREALTIME $host $OCF_RESOURCE_INSTANCE $1" >> INSIDE/record; }
case $1 in
start) : > "$state"; say start;;
stop) [ -e "$state" ] && { rm -f "$state"; say stop; }; exit 0;;
monitor) say monitor; [ -e "$state" ] || exit 7;;
meta-data) cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="Record"><version>1.0</version><longdesc lang="en">Records its calls</longdesc><shortdesc lang="en">Record</shortdesc>
<parameters/>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/><action name="meta-data" timeout="5s"/></actions>
</resource-agent>
XML
;;
*) exit 3;;
esac
exit 0
"#;

/// Pacemaker's agent for tests, whose work is that of a real agent, with a record of its calls.
const DUMMY: &str = r#"#!/bin/bash
/usr/lib/ocf/resource.d/pacemaker/Dummy "$@"
result=$?
read -r host < /proc/sys/kernel/hostname
[ "$1" = meta-data ] || echo "$EPOCHREALTIME $host $OCF_RESOURCE_INSTANCE $1" >> INSIDE/record
exit $result
"#;

const FENCE: &str = r#"#!/bin/bash
# Asks the power switch of the benchmark.
action=reboot
while read -r line; do
    case $line in action=*) action=${line#*=};; port=*|plug=*|nodename=*) node=${line#*=};; esac
done
case $action in
metadata) cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="fence_hkbench" shortdesc="Power switch of the benchmark"><longdesc>Power switch of the benchmark</longdesc>
<parameters><parameter name="action"><content type="string" default="reboot"/></parameter><parameter name="port"><content type="string"/></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="monitor"/><action name="list"/><action name="status"/><action name="metadata"/></actions>
</resource-agent>
XML
;;
monitor|list|status|on) exit 0;;
off|reboot)
    read -r host < /proc/sys/kernel/hostname
    answer=answer-$host-$$
    mkfifo INSIDE/$answer
    exec 3<> INSIDE/$answer
    echo "$action $node $answer" > INSIDE/power
    read -rt 15 said <&3
    rm -f INSIDE/$answer
    [ "$said" = off ] || exit 1;;
*) exit 1;;
esac
exit 0
"#;
