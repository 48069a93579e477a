//! The manifests that the nodes follow: copies of those in xtask/demo, edited while they run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cluster::Node;
use super::routing::SERVICE_CIDRS;
use crate::workspace;

/// A directory of manifests, watched by every node's `portolan run`.
#[derive(Debug)]
pub(crate) struct Objects {
    directory: PathBuf,
    work: PathBuf,
}

impl Objects {
    /// Copies the manifests into `work`.
    pub(crate) fn new(work: &Path) -> Result<Self> {
        let objects = Self {
            directory: work.join("objects"),
            work: work.to_path_buf(),
        };
        fs::create_dir_all(&objects.directory)?;
        let originals = workspace::root().join("xtask/demo");
        for entry in fs::read_dir(&originals).context("reading xtask/demo")? {
            let entry = entry?;
            objects.write(
                &entry.file_name().to_string_lossy(),
                &fs::read_to_string(entry.path())?,
            )?;
        }
        Ok(objects)
    }

    /// Where the manifests are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Edits one file: `old`, which must stand in it, becomes `new`.
    pub(crate) fn edit(&self, file: &str, old: &str, new: &str) -> Result<()> {
        let text = fs::read_to_string(self.directory.join(file))?;
        ensure!(text.contains(old), "{file} has no {old:?} to edit");
        self.write(file, &text.replace(old, new))
    }

    /// Writes the description of `node` that `portolan run` reads, and says where it is.
    pub(crate) fn describe(&self, node: &Node) -> Result<PathBuf> {
        let path = self.work.join(&node.place.name).with_extension("yaml");
        let (services_ipv4, services_ipv6) = SERVICE_CIDRS;
        let text = format!(
            "nodeName: {name}\n\
             ips: ['{ipv4}', '{ipv6}']\n\
             podCIDRs: ['{pods_ipv4}', '{pods_ipv6}']\n\
             clusterCIDRs: [10.244.0.0/16, 'fd00:244::/32']\n\
             detectLocal: ClusterCIDR\n\
             serviceCIDRs: ['{services_ipv4}', '{services_ipv6}']\n",
            name = node.place.name,
            ipv4 = node.addresses.ipv4,
            ipv6 = node.addresses.ipv6,
            pods_ipv4 = node.pod_cidrs().0,
            pods_ipv6 = node.pod_cidrs().1,
        );
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Written beside and moved into place: a watcher never reads half a file.
    fn write(&self, file: &str, text: &str) -> Result<()> {
        let draft = self.work.join("draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, self.directory.join(file)).with_context(|| format!("writing {file}"))
    }
}
