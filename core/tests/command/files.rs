//! A small cluster as files.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) const NODE: &str = "
nodeName: alpha
ips: [172.18.0.2, 'fd12::2']
clusterCIDRs: [10.244.0.0/16, 'fd44::/16']
serviceCIDRs: [10.43.0.0/16]
";

pub(super) const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: store, name: shop}
spec:
  type: NodePort
  clusterIP: 10.43.0.10
  clusterIPs: [10.43.0.10]
  internalTrafficPolicy: Local
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 31080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: store, name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.2.21], nodeName: beta}
- {addresses: [10.244.2.22], nodeName: beta}
- {addresses: [10.244.3.23], nodeName: gamma}
- {addresses: [10.244.3.24], nodeName: gamma}
- {addresses: [10.244.3.25], nodeName: gamma, conditions: {ready: false}}
";

pub(super) const DNS: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: kube-system, name: dns}
spec:
  clusterIP: 10.43.0.53
  clusterIPs: [10.43.0.53]
  ports: [{name: dns, port: 53, protocol: UDP}]
";

/// The files of one test's cluster.
pub(super) struct Files {
    pub(super) directory: PathBuf,
}

impl Files {
    /// A node and two Services.
    pub(super) fn new(test: &str) -> Self {
        let files = Self {
            directory: super::directory(test),
        };
        fs::create_dir(files.objects()).expect("a directory can be made");
        files.write("node.yaml", NODE);
        files.write("objects/shop.yaml", SHOP);
        files.write("objects/dns.yaml", DNS);
        files
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.path("objects")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file as an editor does: beside it, then in its place.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let beside = path.with_extension("new");
        fs::write(&beside, text).expect("writable");
        fs::rename(&beside, &path).expect("renamable");
    }

    /// The arguments that name them.
    pub(super) fn arguments(&self) -> String {
        let name = |path: &Path| path.display().to_string();
        format!(
            "--node-config {} --objects {}",
            name(&self.path("node.yaml")),
            name(&self.objects())
        )
    }
}
