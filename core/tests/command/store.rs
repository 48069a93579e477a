//! `portolan apply`, `get`, `edit` and `delete` on a store.

use super::{Finished, directory, portolan};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// A store of its own, and the node that it is for.
pub(super) struct Store {
    root: PathBuf,
}

const NODE: &str = "
nodeName: alpha
ips: [192.0.2.11, 'fd66::11']
serviceCIDRs: [10.43.0.0/24, 'fd43::/112']
api:
  nodePortRange: 30000-32767
  loadBalancerPools: [{name: public, cidrs: [203.0.113.0/30]}]
";

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: alpha, containers: [{name: main}]}
status: {phase: Running, podIP: 10.44.0.5, conditions: [{type: Ready, status: 'True'}]}
";

impl Store {
    pub(super) fn new(test: &str) -> Self {
        let root = directory(test);
        fs::write(root.join("node.yaml"), NODE).expect("written");
        Self { root }
    }

    /// Where the manifests are.
    fn manifest(&self, name: &str) -> PathBuf {
        self.root.join("store").join(name)
    }

    /// The command with the store's arguments, before it runs.
    pub(super) fn command(&self, arguments: &str) -> std::process::Command {
        let mut command = portolan();
        command.args(arguments.split_whitespace());
        command.arg("--store").arg(self.root.join("store"));
        command
            .arg("--node-config")
            .arg(self.root.join("node.yaml"));
        command
    }

    fn run(&self, arguments: &str) -> Finished {
        Finished::from(
            self.command(arguments)
                .output()
                .expect("the command starts"),
        )
    }

    pub(super) fn apply(&self, manifest: &str) -> Finished {
        let mut command = self.command("apply -f -");
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(manifest.as_bytes())
            .expect("read by the command");
        drop(stdin);
        Finished::from(child.wait_with_output().expect("it ends"))
    }

    /// The objects of a kind, in every namespace.
    pub(super) fn objects(&self, kind: &str) -> Vec<serde_json::Value> {
        let finished = self.run(&format!("get {kind} -A -o json"));
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        if finished.stdout.is_empty() {
            return Vec::new();
        }
        let list: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }
}

#[test]
fn what_is_applied_is_completed_and_listed_as_kubectl_lists_it() {
    let store = Store::new("store-applied");
    let applied = store.apply(WEB);
    assert_eq!(
        applied.stdout, "service/web created\npod/web-1 created\n",
        "{}",
        applied.stderr
    );
    assert_eq!(
        store.apply(WEB).stdout,
        "service/web unchanged\npod/web-1 unchanged\n"
    );
    let services = store.run("get services").stdout;
    let lines: Vec<Vec<&str>> = services
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAME",
            "TYPE",
            "CLUSTER-IP",
            "EXTERNAL-IP",
            "PORT(S)",
            "AGE"
        ]
    );
    assert_eq!(lines[1][..2], ["web", "ClusterIP"]);
    assert!(lines[1][2].starts_with("10.43.0."), "{services}");
    assert!(
        store
            .run("get endpoints")
            .stdout
            .contains("web    10.44.0.5:80")
    );
    let slices = store.run("get endpointslices").stdout;
    assert!(
        slices.contains("web-1   IPv4          80      10.44.0.5"),
        "{slices}"
    );
    let pods = store.run("get pods").stdout;
    assert!(
        pods.contains("web-1   True    Running   10.44.0.5   alpha"),
        "{pods}"
    );
    let yaml = store.run("get service web -o yaml").stdout;
    assert!(
        yaml.contains("\n  internalTrafficPolicy: Cluster\n"),
        "{yaml}"
    );
    let manifest = fs::read_to_string(store.manifest("service.default.web.yaml"));
    let manifest = manifest.expect("the manifest is there");
    assert!(
        !manifest.contains("internalTrafficPolicy"),
        "only what was asked for: {manifest}"
    );
}

#[test]
fn what_is_refused_is_named_and_changes_nothing() {
    let store = Store::new("store-refused");
    store.apply(WEB);
    let refused = store.apply(&WEB.replace("port: 80", "port: 80, nodePort: 80"));
    assert_eq!(refused.status, 1);
    assert_eq!(
        refused.stderr,
        "The Service \"web\" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when `type` is \
         'ClusterIP'\n"
    );
    assert_eq!(refused.stdout, "pod/web-1 unchanged\n");
    assert_eq!(
        store.apply(WEB).stdout,
        "service/web unchanged\npod/web-1 unchanged\n"
    );
    let nonsense =
        store.apply("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: 80}}");
    assert_eq!(nonsense.status, 1);
    assert!(
        nonsense.stderr.contains("spec.ports"),
        "{}",
        nonsense.stderr
    );
}

#[test]
fn an_edit_of_a_file_that_is_refused_leaves_the_old_state_in_force() {
    let store = Store::new("store-edited");
    fs::create_dir_all(store.root.join("store")).expect("a directory");
    let file = store.manifest("mine.yaml");
    fs::write(&file, WEB).expect("written");
    let address = |store: &Store| store.objects("services")[0]["spec"]["clusterIP"].clone();
    let given = address(&store);
    fs::write(&file, WEB.replace("port: 80", "port: 70000")).expect("written");
    let told = store.run("get services").stderr;
    assert!(
        told.contains("mine.yaml: Service default/web: spec.ports[0].port: Invalid value: 70000"),
        "{told}"
    );
    assert_eq!(store.objects("services")[0]["spec"]["ports"][0]["port"], 80);
    fs::write(&file, "{ no manifest at all").expect("written");
    assert_eq!(address(&store), given);
    assert_eq!(store.objects("pods").len(), 1);
    fs::write(&file, WEB.replace("port: 80", "port: 81")).expect("written");
    assert_eq!(store.objects("services")[0]["spec"]["ports"][0]["port"], 81);
    assert_eq!(address(&store), given);
    fs::remove_file(&file).expect("removed");
    assert_eq!(store.objects("services").len(), 0);
    assert_eq!(store.objects("endpointslices").len(), 0);
}

#[test]
fn what_stands_in_a_file_with_others_is_left_to_whoever_wrote_it() {
    let store = Store::new("store-shared");
    fs::create_dir_all(store.root.join("store")).expect("a directory");
    fs::write(store.manifest("mine.yaml"), WEB).expect("written");
    let refused = store.apply(&WEB.replace("port: 80", "port: 81"));
    assert_eq!(refused.status, 1);
    assert!(
        refused
            .stderr
            .contains("mine.yaml with others: edit that file"),
        "{}",
        refused.stderr
    );
    assert_eq!(store.objects("services")[0]["spec"]["ports"][0]["port"], 80);
}

#[test]
fn what_is_deleted_is_gone_and_says_so_once() {
    let store = Store::new("store-deleted");
    store.apply(WEB);
    let deleted = store.run("delete service web");
    assert_eq!(
        (deleted.status, deleted.stdout.as_str()),
        (0, "service/web deleted\n")
    );
    let again = store.run("delete service web");
    assert_eq!(again.status, 1);
    assert!(
        again.stderr.contains("services \"web\" not found"),
        "{}",
        again.stderr
    );
    assert!(!store.manifest("service.default.web.yaml").exists());
    assert_eq!(store.objects("services").len(), 0);
    let file = store.root.join("web.yaml");
    fs::write(&file, WEB).expect("written");
    let rest = store.run(&format!("delete -f {}", file.display()));
    assert_eq!(rest.stdout, "pod/web-1 deleted\n");
}

#[test]
fn an_editor_changes_an_object_until_it_is_sound() {
    let store = Store::new("store-editor");
    store.apply(WEB);
    // The first time it writes what is refused, the second time what is not.
    let editor = store.root.join("editor");
    let script = format!(
        "#!/bin/sh\nif grep -q 'is invalid' \"$1\"; then sed -i 's/port: 0$/port: 8080/' \"$1\"; \
         else sed -i 's/port: 80$/port: 0/' \"$1\"; fi\ncp \"$1\" {}/seen\n",
        store.root.display()
    );
    fs::write(&editor, script).expect("written");
    let mut command = store.command("edit service web");
    command.env("EDITOR", format!("sh {}", editor.display()));
    let edited = Finished::from(command.output().expect("the command starts"));
    assert_eq!(
        edited.stdout, "service/web configured\n",
        "{}",
        edited.stderr
    );
    let seen = fs::read_to_string(store.root.join("seen")).expect("seen");
    assert!(
        seen.contains("# The Service \"web\" is invalid: spec.ports[0].port"),
        "{seen}"
    );
    assert_eq!(
        store.objects("services")[0]["spec"]["ports"][0]["port"],
        8080
    );
    let mut command = store.command("edit service web");
    command.env("EDITOR", "true");
    let untouched = Finished::from(command.output().expect("the command starts"));
    assert!(
        untouched.stderr.contains("Edit cancelled"),
        "{}",
        untouched.stderr
    );
}

#[test]
fn two_do_not_work_on_one_store() {
    let store = Store::new("store-locked");
    store.apply(WEB);
    let lock = fs::File::open(store.manifest(".portolan/lock")).expect("the lock is there");
    lock.lock().expect("locked");
    let refused = store.run("get services");
    assert_eq!(refused.status, 2);
    assert!(
        refused
            .stderr
            .contains("another portolan works on this store"),
        "{}",
        refused.stderr
    );
}
