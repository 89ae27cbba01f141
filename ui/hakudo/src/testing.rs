//! A world for tests, and commands run in it.

use crate::world::World;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

/// What was written, readable while the world that writes it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Rc<RefCell<Vec<u8>>>);

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A world without cluster, in UTC, on 2026-01-01; and what is written in it, output and errors together.
pub(crate) fn world() -> (World, Written) {
    let written = Written::default();
    let world = World {
        out: Box::new(written.clone()),
        err: Box::new(written.clone()),
        terminal: false,
        cib_file: None,
        socket: PathBuf::from("/nonexistent/node.sock"),
        zone: jiff::tz::TimeZone::UTC,
        now: 1_767_225_600,
    };
    (world, written)
}

/// Runs `hakudo` with these words; the exit code in the last line unless it is 0.
pub(crate) fn hakudo(words: &[&str]) -> String {
    let (mut world, written) = world();
    let arguments = std::iter::once("hakudo").chain(words.iter().copied()).map(OsString::from).collect();
    let exit = crate::run(arguments, &mut world);
    let mut text = written.text();
    if exit.0 != 0 {
        text.push_str(&format!("[exit {}]\n", exit.0));
    }
    text
}

/// A file that goes away with this value.
#[derive(Debug)]
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(text: &str) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hakudo-test-{}-{number}.xml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two nodes: `alpha` runs the address and the web server, `beta` nothing yet.
pub(crate) const TWO_NODES: &str = r##"<cib admin_epoch="0" epoch="5" num_updates="2" validate-with="pacemaker-4.0" have-quorum="1" dc-uuid="1" execution-date="1767225600">
  <configuration>
    <crm_config>
      <cluster_property_set id="cib-bootstrap-options">
        <nvpair id="cib-bootstrap-options-fencing-enabled" name="fencing-enabled" value="false"/>
      </cluster_property_set>
    </crm_config>
    <nodes>
      <node id="1" uname="alpha"/>
      <node id="2" uname="beta"/>
    </nodes>
    <resources>
      <primitive id="address" class="ocf" provider="hakudo" type="Address">
        <operations>
          <op id="address-monitor-10s" name="monitor" interval="10s" timeout="20s"/>
        </operations>
      </primitive>
      <primitive id="web" class="ocf" provider="hakudo" type="Http"/>
    </resources>
    <constraints>
      <rsc_colocation id="web-with-address" rsc="web" with-rsc="address" score="INFINITY"/>
      <rsc_order id="address-then-web" first="address" then="web"/>
    </constraints>
  </configuration>
  <status>
    <node_state id="1" uname="alpha" in_ccm="true" crmd="online" join="member" expected="member">
      <lrm id="1">
        <lrm_resources>
          <lrm_resource id="address" class="ocf" provider="hakudo" type="Address">
            <lrm_rsc_op id="address_last_0" operation_key="address_start_0" operation="start" transition-key="3:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:0;3:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="5" rc-code="0" op-status="0" interval="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
            <lrm_rsc_op id="address_monitor_10000" operation_key="address_monitor_10000" operation="monitor" transition-key="4:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:0;4:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="6" rc-code="0" op-status="0" interval="10000" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
          </lrm_resource>
          <lrm_resource id="web" class="ocf" provider="hakudo" type="Http">
            <lrm_rsc_op id="web_last_0" operation_key="web_start_0" operation="start" transition-key="5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:0;5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="7" rc-code="0" op-status="0" interval="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
          </lrm_resource>
        </lrm_resources>
      </lrm>
    </node_state>
    <node_state id="2" uname="beta" in_ccm="true" crmd="online" join="member" expected="member">
      <lrm id="2">
        <lrm_resources>
          <lrm_resource id="address" class="ocf" provider="hakudo" type="Address">
            <lrm_rsc_op id="address_last_0" operation_key="address_monitor_0" operation="monitor" transition-key="1:1:7:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:7;1:1:7:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="3" rc-code="7" op-status="0" interval="0"/>
          </lrm_resource>
          <lrm_resource id="web" class="ocf" provider="hakudo" type="Http">
            <lrm_rsc_op id="web_last_0" operation_key="web_monitor_0" operation="monitor" transition-key="2:1:7:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:7;2:1:7:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="4" rc-code="7" op-status="0" interval="0"/>
          </lrm_resource>
        </lrm_resources>
      </lrm>
    </node_state>
  </status>
</cib>
"##;
