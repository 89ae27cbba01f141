//! The story of two sites and a ticket, unattended.

use super::layout::Site;
use super::story::Stage;
use anyhow::{Context, Result};

impl Stage {
    /// All that the ticket survives, each time with the client asking.
    pub(super) async fn whole_story_of_sites(&self) -> Result<()> {
        let server = self.server()?;
        let (here, _) = self.here_and_there()?;
        let title = format!("Power cut of {server}, which serves: the ticket stays at {}", here.name);
        self.scene(&title, &["kill", &server], None).await?;

        let (here, there) = self.here_and_there()?;
        let title = format!("Ticket moved from {} to {}", here.name, there.name);
        self.scene(&title, &["move", &there.name], None).await?;
        self.must_serve(there)?;

        let (here, there) = self.here_and_there()?;
        let title = format!("Power cut of {}, all of it", here.name);
        self.scene(&title, &["kill", &here.name], Some(&["start", &here.name])).await?;
        self.must_serve(there)?;

        if !self.layout.shape.loopback {
            let (here, there) = self.here_and_there()?;
            let title = format!("Network of {} cut, all of it", here.name);
            self.scene(&title, &["cut", &here.name], Some(&["heal", &here.name])).await?;
            self.must_serve(there)?;
        }
        if let Some(arbitrator) = &self.layout.arbitrator {
            let title = format!("Power cut of {arbitrator}, which only votes");
            self.scene(&title, &["kill", arbitrator], Some(&["start", arbitrator])).await?;
        }
        println!("The service came back each time.");
        Ok(())
    }

    /// The site that serves, and the other one.
    fn here_and_there(&self) -> Result<(&Site, &Site)> {
        let server = self.server()?;
        let here = self.layout.site_of(&server).with_context(|| format!("{server} is of no site"))?;
        let there = self.layout.sites.iter().find(|site| site.name != here.name);
        Ok((here, there.context("there is one site only")?))
    }

    fn must_serve(&self, site: &Site) -> Result<()> {
        let server = self.server()?;
        anyhow::ensure!(site.nodes.contains(&server), "{server} serves, which is not at {}", site.name);
        Ok(())
    }
}
