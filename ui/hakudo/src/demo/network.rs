//! The network of the demo: a bridge in the demo's own network namespace, and a cable from it to each node's namespace.
//! Nothing of it can be seen from, or reach, the machine's real network.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, new_connection};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The interface of a node inside its namespace.
pub(super) const INTERFACE: &str = "eth0";

/// The bridge.
const SWITCH: &str = "switch";

/// The last part of the floating address of the demo's service.
pub(super) const SERVICE: u8 = 100;

/// The last part of the address of the demo's client.
const CLIENT: u8 = 254;

/// The first three parts of all addresses of the demo's own network.
pub(super) const PREFIX: [u8; 3] = [10, 78, 0];

/// An address of a network by its last part.
pub(super) const fn address([a, b, c]: [u8; 3], last: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, last)
}

/// The namespace in which this process is.
pub(super) struct Network {
    handle: Handle,
}

impl Network {
    /// Must be called within a tokio runtime.
    pub(super) fn open() -> Result<Self> {
        let (connection, handle, _) = new_connection().context("cannot talk to the kernel about its network")?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Makes the switch, with the client's address on it.
    pub(super) async fn make_switch(&self) -> Result<()> {
        self.up("lo").await?;
        self.handle.link().add(LinkBridge::new(SWITCH).build()).execute().await.context("cannot make a bridge")?;
        self.give_address(SWITCH, address(PREFIX, CLIENT)).await?;
        self.up(SWITCH).await
    }

    /// Makes the switch of a site, and a cable from it to the switch.
    pub(super) async fn make_switch_of(&self, site: &str) -> Result<()> {
        let (port, far) = (port(site), format!("{site}-far"));
        self.handle.link().add(LinkBridge::new(site).build()).execute().await.context("cannot make a bridge")?;
        self.handle.link().add(LinkVeth::new(&port, &far).build()).execute().await.context("cannot make a cable")?;
        self.plug(&port, SWITCH).await?;
        self.plug(&far, site).await?;
        self.up(site).await
    }

    /// Lays a cable from the switch, or a site's, to the namespace of the process `pid`, where its end is called [`INTERFACE`].
    pub(super) async fn connect(&self, node: &str, pid: u32, site: Option<&str>) -> Result<()> {
        // The cable of the machine's former life vanishes with its namespace, but nobody says when.
        let port = port(node);
        if let Ok(old) = self.index(&port).await {
            // It may vanish at this very moment.
            let _ = self.handle.link().del(old).execute().await;
        }
        let far = format!("{node}-far");
        self.handle.link().add(LinkVeth::new(&port, &far).build()).execute().await.context("cannot make a cable")?;
        let far_index = self.index(&far).await?;
        let moved = LinkUnspec::new_with_index(far_index).setns_by_pid(pid).name(INTERFACE).build();
        self.handle.link().set(moved).execute().await.context("cannot lead a cable into a node")?;
        self.plug(&port, site.unwrap_or(SWITCH)).await
    }

    async fn plug(&self, end: &str, switch: &str) -> Result<()> {
        let switch = self.index(switch).await?;
        let plugged = LinkUnspec::new_with_index(self.index(end).await?).controller(switch).build();
        self.handle.link().set(plugged).execute().await.context("cannot plug a cable into the switch")?;
        self.up(end).await
    }

    /// Cuts a node's cable, or a site's.
    pub(super) async fn cut(&self, node: &str) -> Result<()> {
        let index = self.index(&port(node)).await?;
        self.handle.link().set(LinkUnspec::new_with_index(index).down().build()).execute().await?;
        Ok(())
    }

    /// Mends a node's cable, or a site's.
    pub(super) async fn heal(&self, node: &str) -> Result<()> {
        self.up(&port(node)).await
    }

    /// Inside a node: waits for the cable and takes the address.
    pub(super) async fn join(&self, address: Ipv4Addr) -> Result<()> {
        self.up("lo").await?;
        for _ in 0..500 {
            if self.index(INTERFACE).await.is_ok() {
                self.give_address(INTERFACE, address).await?;
                return self.up(INTERFACE).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("no cable came within 5 s")
    }

    async fn give_address(&self, interface: &str, address: Ipv4Addr) -> Result<()> {
        let index = self.index(interface).await?;
        self.handle
            .address()
            .add(index, IpAddr::V4(address), 24)
            .execute()
            .await
            .with_context(|| format!("cannot give {address} to {interface}"))
    }

    async fn up(&self, interface: &str) -> Result<()> {
        let index = self.index(interface).await?;
        self.handle
            .link()
            .set(LinkUnspec::new_with_index(index).up().build())
            .execute()
            .await
            .with_context(|| format!("cannot switch {interface} on"))
    }

    async fn index(&self, interface: &str) -> Result<u32> {
        let mut found = std::pin::pin!(self.handle.link().get().match_name(interface.to_owned()).execute());
        let link = found.try_next().await?.with_context(|| format!("there is no interface {interface}"))?;
        Ok(link.header.index)
    }
}

/// The switch's end of the cable of a node or a site.
fn port(node: &str) -> String {
    format!("{node}-port")
}
