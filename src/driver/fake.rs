//! A driver in memory: for tests of what stands above it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use ipnet::Ipv4Net;
use tokio::sync::watch;

use crate::{
    ByteStream, Capabilities, Content, Driver, Error, Exec, ExecControl, ExecSpec, File, Finished, HostFacts,
    LocalImage, LogOptions, Network, NetworkSpec, Node, NodeFacts, NodeSpec, NodeState, Output,
    PublishedPort, labels,
};

/// Answers a command: node, its files, command, input.
pub type Script = dyn Fn(&str, &BTreeMap<String, Bytes>, &[String], &[u8]) -> Finished + Send + Sync;

/// Nodes without substance. Commands in them are answered by a script.
#[derive(Clone)]
pub struct FakeDriver {
    state: Arc<Mutex<State>>,
    script: Arc<Script>,
}

#[derive(Default)]
struct State {
    networks: BTreeMap<String, Network>,
    nodes: BTreeMap<String, Record>,
    images: BTreeMap<String, LocalImage>,
    /// The next call of a method that is named here fails.
    failures: Vec<&'static str>,
    /// Everything that changed something, in order.
    calls: Vec<String>,
}

struct Record {
    facts: NodeFacts,
    files: BTreeMap<String, Bytes>,
    exit: watch::Sender<Option<i64>>,
}

impl FakeDriver {
    /// `script` answers the commands in nodes.
    pub fn new(
        script: impl Fn(&str, &BTreeMap<String, Bytes>, &[String], &[u8]) -> Finished + Send + Sync + 'static,
    ) -> Self {
        FakeDriver {
            state: Arc::default(),
            script: Arc::new(script),
        }
    }

    /// An image that the engine has.
    pub fn add_image(&self, reference: &str) {
        let image = LocalImage {
            id: format!("sha256:{:064x}", reference.len()),
            tags: vec![reference.to_owned()],
            size_bytes: 1,
            layers: Vec::new(),
            labels: BTreeMap::new(),
        };
        self.lock().images.insert(reference.to_owned(), image);
    }

    /// Lets the next call of this method fail.
    pub fn fail_next(&self, method: &'static str) {
        self.lock().failures.push(method);
    }

    /// What was changed, in order: `create_node x`, `start x`, ...
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// A file of a node.
    pub fn file(&self, node: &str, path: &str) -> Option<Bytes> {
        self.lock().nodes.get(node)?.files.get(path).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, method: &'static str, what: &str) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.lock();
        if let Some(i) = state.failures.iter().position(|f| *f == method) {
            state.failures.remove(i);
            return Err(Error::backend(format!("{method} {what}"), "it was told to fail"));
        }
        state.calls.push(format!("{method} {what}"));
        Ok(state)
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            limits: false,
            mounts: false,
            survives_restart: false,
            local_images: true,
        }
    }

    async fn probe(&self) -> Result<HostFacts, Error> {
        Ok(HostFacts {
            engine: "fake".into(),
            version: "1".into(),
            kernel: "none".into(),
            arch: std::env::consts::ARCH.into(),
            cpus: 1,
            memory_bytes: 1 << 30,
            cgroup_version: 2,
            rootless: false,
            local: false,
            missing: Vec::new(),
        })
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<Network, Error> {
        let mut state = self.change("create_network", &spec.cluster)?;
        if state.networks.contains_key(&spec.cluster) {
            return Err(Error::Exists {
                what: "network",
                name: spec.cluster.clone(),
            });
        }
        let taken = |net: &Ipv4Net| {
            state
                .networks
                .values()
                .any(|n| n.subnet.contains(net) || net.contains(&n.subnet))
        };
        let subnet = match spec.subnet {
            Some(net) if taken(&net) => {
                return Err(Error::SubnetInUse {
                    subnet: net.to_string(),
                    with: "a network".into(),
                });
            }
            Some(net) => net,
            None => (0..=255)
                .map(|i| Ipv4Net::new_assert(Ipv4Addr::new(192, 0, i, 0), 24))
                .find(|net| !taken(net))
                .ok_or(Error::NoSubnet)?,
        };
        let gateway = IpAddr::V4((u32::from(subnet.network()) + 1).into());
        let network = Network {
            name: format!("fake-{}", spec.cluster),
            subnet,
            gateway,
        };
        state.networks.insert(spec.cluster.clone(), network.clone());
        Ok(network)
    }

    async fn network(&self, cluster: &str) -> Result<Option<Network>, Error> {
        Ok(self.lock().networks.get(cluster).cloned())
    }

    async fn create_node(&self, spec: &NodeSpec) -> Result<Arc<dyn Node>, Error> {
        let mut state = self.change("create_node", &spec.name)?;
        if !state.images.contains_key(&spec.image) {
            return Err(Error::NoImage(spec.image.clone()));
        }
        if state.nodes.contains_key(&spec.name) {
            return Err(Error::Exists {
                what: "node",
                name: spec.name.clone(),
            });
        }
        let mut all = spec.labels.clone();
        all.insert(labels::CLUSTER.into(), spec.cluster.clone());
        let facts = NodeFacts {
            cluster: spec.cluster.clone(),
            name: spec.name.clone(),
            role: spec.role,
            state: NodeState::Created,
            address: spec.address,
            image: spec.image.clone(),
            ports: spec
                .ports
                .iter()
                .filter_map(|p| {
                    Some(PublishedPort {
                        address: p.listen_address,
                        host_port: p.host_port?,
                        node_port: p.container_port,
                        protocol: p.protocol.as_str().to_owned(),
                    })
                })
                .collect(),
            labels: all,
        };
        let record = Record {
            facts: facts.clone(),
            files: BTreeMap::new(),
            exit: watch::Sender::new(Some(0)),
        };
        state.nodes.insert(spec.name.clone(), record);
        drop(state);
        Ok(self.node(&facts))
    }

    async fn list_nodes(&self, cluster: Option<&str>) -> Result<Vec<NodeFacts>, Error> {
        let state = self.lock();
        let mut nodes: Vec<NodeFacts> = state.nodes.values().map(|r| r.facts.clone()).collect();
        nodes.retain(|n| cluster.is_none_or(|c| c == n.cluster));
        nodes.sort_by(|a, b| (&a.cluster, a.role, &a.name).cmp(&(&b.cluster, b.role, &b.name)));
        Ok(nodes)
    }

    fn node(&self, facts: &NodeFacts) -> Arc<dyn Node> {
        Arc::new(FakeNode {
            driver: self.clone(),
            name: facts.name.clone(),
            address: facts.address,
        })
    }

    async fn delete_cluster(&self, cluster: &str) -> Result<usize, Error> {
        let mut state = self.change("delete_cluster", cluster)?;
        let before = state.nodes.len() + state.networks.len();
        state.nodes.retain(|_, r| r.facts.cluster != cluster);
        state.networks.remove(cluster);
        Ok(before - state.nodes.len() - state.networks.len())
    }

    async fn local_image(&self, reference: &str) -> Result<Option<LocalImage>, Error> {
        Ok(self.lock().images.get(reference).cloned())
    }

    async fn export_images(&self, references: &[String]) -> Result<ByteStream, Error> {
        for reference in references {
            if !self.lock().images.contains_key(reference) {
                return Err(Error::NoImage(reference.clone()));
            }
        }
        Ok(futures::stream::iter([Ok(Bytes::from(references.join(",")))]).boxed())
    }

    async fn delete_image(&self, reference: &str) -> Result<(), Error> {
        self.lock().images.remove(reference);
        Ok(())
    }

    async fn import_images(&self, mut tar: ByteStream) -> Result<(), Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = tar.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        // A fake archive is what `export_images` gives: names.
        for name in String::from_utf8_lossy(&bytes)
            .split(',')
            .filter(|n| n.len() < 256)
        {
            self.add_image(name);
        }
        Ok(())
    }
}

struct FakeNode {
    driver: FakeDriver,
    name: String,
    address: IpAddr,
}

impl FakeNode {
    fn with<T>(&self, state: &mut State, f: impl FnOnce(&mut Record) -> T) -> Result<T, Error> {
        state
            .nodes
            .get_mut(&self.name)
            .map(f)
            .ok_or_else(|| Error::NoNode(self.name.clone()))
    }

    fn end(&self, method: &'static str, code: i64) -> Result<(), Error> {
        let mut state = self.driver.change(method, &self.name)?;
        self.with(&mut state, |record| {
            if record.facts.state == NodeState::Running {
                record.facts.state = NodeState::Stopped;
                record.exit.send_replace(Some(code));
            }
        })
    }
}

#[async_trait]
impl Node for FakeNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> IpAddr {
        self.address
    }

    async fn deliver(&self, files: Vec<File>) -> Result<(), Error> {
        let mut state = self.driver.change("deliver", &self.name)?;
        self.with(&mut state, |record| {
            for file in files {
                let bytes = match file.content {
                    Content::Bytes(bytes) => bytes,
                    Content::Path(path) => std::fs::read(&path)
                        .map_err(|source| Error::ReadFile { path, source })?
                        .into(),
                };
                record.files.insert(file.path, bytes);
            }
            Ok(())
        })?
    }

    async fn start(&self) -> Result<(), Error> {
        let mut state = self.driver.change("start", &self.name)?;
        self.with(&mut state, |record| {
            record.facts.state = NodeState::Running;
            record.exit.send_replace(None);
        })
    }

    async fn stop(&self, _grace: Duration) -> Result<(), Error> {
        self.end("stop", 7)
    }

    async fn kill(&self) -> Result<(), Error> {
        self.end("kill", 137)
    }

    async fn stopped(&self) -> Result<i64, Error> {
        let mut exit = self.with(&mut self.driver.lock(), |record| record.exit.subscribe())?;
        let code = exit
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::NoNode(self.name.clone()))?;
        Ok(code.unwrap_or_default())
    }

    async fn delete(&self) -> Result<(), Error> {
        self.driver.change("delete", &self.name)?.nodes.remove(&self.name);
        Ok(())
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error> {
        let files = self.with(&mut self.driver.lock(), |record| {
            (record.facts.state == NodeState::Running).then(|| record.files.clone())
        })?;
        let files = files.ok_or_else(|| Error::NotRunning(self.name.clone()))?;
        let (script, name) = (self.driver.script.clone(), self.name.clone());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let stdin = spec.stdin.then(|| Box::pin(ours) as _);
        let output = futures::stream::once(async move {
            let mut input = Vec::new();
            if spec.stdin {
                let mut theirs = theirs;
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut input).await;
            }
            let finished = script(&name, &files, &spec.command, &input);
            let _ = sender.send(finished.code);
            let pieces = [
                Output::Stdout(finished.stdout.into()),
                Output::Stderr(finished.stderr.into()),
            ];
            futures::stream::iter(pieces.map(Ok))
        })
        .flatten()
        .boxed();
        let control = Box::new(FakeControl(tokio::sync::Mutex::new(Some(receiver))));
        Ok(Exec {
            output,
            stdin,
            control,
        })
    }

    async fn logs(&self, _options: LogOptions) -> Result<ByteStream, Error> {
        Ok(futures::stream::iter([Ok(Bytes::from_static(b"hello\n"))]).boxed())
    }

    async fn facts(&self) -> Result<NodeFacts, Error> {
        self.with(&mut self.driver.lock(), |record| record.facts.clone())
    }
}

struct FakeControl(tokio::sync::Mutex<Option<tokio::sync::oneshot::Receiver<i64>>>);

#[async_trait]
impl ExecControl for FakeControl {
    async fn resize(&self, _columns: u16, _rows: u16) -> Result<(), Error> {
        Ok(())
    }

    async fn exit_code(&self) -> Result<i64, Error> {
        match self.0.lock().await.take() {
            Some(receiver) => receiver
                .await
                .map_err(|e| Error::backend("wait for the command", e)),
            None => Ok(0),
        }
    }
}
