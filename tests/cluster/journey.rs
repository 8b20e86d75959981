//! The eight steps of a newcomer's first hour, in their order on one cluster.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rkind_tests::cli::{User, docker};
use rkind_tests::{http, images, wait::eventually};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const REPLICAS: usize = 6;
const SOON: Duration = Duration::from_secs(60);

type Step = fn(&User);

#[test]
fn newcomer() {
    images::web();
    let user = User::new("e2e");
    let steps: &[(&str, Step)] = &[
        ("start three nodes", start),
        ("kubectl get nodes", nodes),
        ("load an image", load_image),
        ("deploy and expose", deploy),
        ("reach it from everywhere", reach),
        ("logs, exec, port-forward, scale, delete", operate),
        ("rolling update and undo", roll),
        ("apply a production-shaped manifest", apply_production),
        ("kill what runs the pods", adopt),
        ("stop and start", stop_and_start),
        ("kill a node and start it again", kill_a_node),
        ("delete", delete),
    ];
    for (name, step) in steps {
        let started = Instant::now();
        step(&user);
        eprintln!("step {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
}

fn start(user: &User) {
    user.rkind(&["start", "--nodes", &NODES.to_string()]);
    let again = user.rkind(&["start", "--nodes", &NODES.to_string(), "--output", "json"]);
    assert!(
        again.contains(user.profile()),
        "starting a running cluster says so: {again}"
    );
    let other = user.rkind_command(&["start", "--nodes", "9"]).output();
    let other = other.expect("rkind starts");
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(
        other.status.success() && said.contains("--nodes changed nothing"),
        "{said}"
    );
}

fn nodes(user: &User) {
    let listing = user.kubectl(&["get", "nodes", "-o", "wide", "--no-headers"]);
    let rows: Vec<Vec<&str>> = listing
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), NODES, "{listing}");
    for row in &rows {
        assert_eq!(row[1], "Ready", "{listing}");
        assert_eq!(row[4], "v1.35.0", "{listing}");
        assert!(
            row[5].parse::<std::net::IpAddr>().is_ok(),
            "an internal address: {listing}"
        );
        assert!(
            row.last()
                .is_some_and(|runtime| runtime.starts_with("containerd://")),
            "{listing}"
        );
    }
    let control_planes = rows.iter().filter(|row| row[2] == "control-plane").count();
    assert_eq!(control_planes, 1, "{listing}");
}

fn load_image(user: &User) {
    user.rkind(&["image", "load", "web:1", "web:2"]);
    for node in node_names(user) {
        let images = user.jsonpath(&["node", &node], "{.status.images[*].names}");
        let known = images.contains("web:1")
            || docker(&[
                "exec",
                &container(user, &node),
                "ctr",
                "-n",
                "k8s.io",
                "images",
                "ls",
                "-q",
            ])
            .contains("web:1");
        assert!(known, "{node} has no web:1");
    }
}

fn deploy(user: &User) {
    user.kubectl(&[
        "create",
        "deployment",
        "web",
        "--image=web:1",
        &format!("--replicas={REPLICAS}"),
    ]);
    user.kubectl(&["expose", "deployment", "web", "--port=80"]);
    let rollout = user.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert!(rollout.contains("successfully rolled out"), "{rollout}");
    let all = user.kubectl(&["get", "all"]);
    for expected in [
        "pod/web-",
        "service/web",
        "service/kubernetes",
        "deployment.apps/web   6/6",
        "replicaset.apps/web-",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    let pods = user.kubectl(&["describe", "pod", "-l", "app=web"]);
    for expected in [
        "Successfully assigned default/web-",
        "ReplicaSet/web-",
        "Ready             True",
    ] {
        let squeezed = squeeze(&pods);
        assert!(squeezed.contains(&squeeze(expected)), "{expected}: {pods}");
    }
    let events = user.kubectl(&["get", "events"]);
    for reason in [
        "Scheduled",
        "Pulled",
        "Created",
        "Started",
        "SuccessfulCreate",
        "ScalingReplicaSet",
    ] {
        assert!(events.contains(reason), "{reason}: {events}");
    }
    let spread: BTreeSet<String> = user
        .jsonpath(&["pods", "-l", "app=web"], "{.items[*].spec.nodeName}")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        spread.len(),
        NODES,
        "six pods are spread over all nodes: {spread:?}"
    );
}

fn reach(user: &User) {
    for node in node_names(user) {
        user.kubectl_stdin(&["apply", "-f", "-"], &client_pod(&node));
    }
    user.kubectl(&[
        "wait",
        "pod",
        "-l",
        "app=client",
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
    let cluster_ip = user.jsonpath(&["service", "web"], "{.spec.clusterIP}");
    for node in node_names(user) {
        for target in ["web", "web.default.svc.cluster.local", &cluster_ip] {
            let answer = eventually(&format!("http://{target} from {node}"), SOON, || {
                fetch(user, &node, target)
            });
            assert!(answer.contains("web:1"), "{answer}");
        }
    }
    let first = &node_names(user)[0];
    let script = "for i in $(seq 120); do timeout 5 wget -q -O- http://web; done";
    let answers = user.kubectl(&["exec", &format!("client-{first}"), "--", "sh", "-c", script]);
    let answering: BTreeSet<&str> = answers
        .split_whitespace()
        .filter(|word| word.starts_with("web-"))
        .collect();
    assert_eq!(answering.len(), REPLICAS, "all pods take part: {answers}");

    user.kubectl(&[
        "expose",
        "deployment",
        "web",
        "--name=web-port",
        "--type=NodePort",
        "--port=80",
    ]);
    let port: u16 = user
        .jsonpath(&["service", "web-port"], "{.spec.ports[0].nodePort}")
        .parse()
        .expect("a port");
    for address in node_addresses(user) {
        let answer = eventually(&format!("NodePort on {address}"), SOON, || {
            http::get(SocketAddr::new(address, port), "/")
                .ok()
                .filter(|answer| answer.contains("200 OK"))
        });
        assert!(answer.contains("web:1"), "{answer}");
    }
}

fn operate(user: &User) {
    let pod = first_web_pod(user);
    let mut follow = user
        .kubectl_command(&["logs", "-f", &format!("client-{}", node_names(user)[0])])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut line = String::new();
    BufReader::new(follow.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a followed line");
    assert_eq!(line.trim(), "client is up");
    follow.kill().expect("kubectl is running");
    follow.wait().expect("it is our child");

    assert_eq!(user.kubectl(&["exec", &pod, "--", "hostname"]).trim(), pod);
    assert!(
        user.try_kubectl(&["exec", &pod, "--", "false"]).is_none(),
        "an exit code comes through"
    );
    let mut shell = user
        .kubectl_command(&["exec", "-i", &pod, "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    shell
        .stdin
        .take()
        .expect("piped")
        .write_all(b"round trip\n")
        .expect("kubectl reads");
    let echoed = shell.wait_with_output().expect("kubectl ends");
    assert_eq!(String::from_utf8_lossy(&echoed.stdout), "round trip\n");
    if std::process::Command::new("script")
        .arg("--version")
        .output()
        .is_ok()
    {
        let kubectl = user.kubectl_command(&["exec", "-it", &pod, "--", "tty"]);
        let words: Vec<_> = std::iter::once(kubectl.get_program())
            .chain(kubectl.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let mut terminal = std::process::Command::new("script");
        terminal
            .args(["-qec", &words.join(" "), "/dev/null"])
            .env("KUBECONFIG", user.kubeconfig())
            .stdin(Stdio::null());
        let seen = terminal.output().expect("script starts");
        assert!(
            String::from_utf8_lossy(&seen.stdout).contains("/dev/pts/"),
            "{seen:?}"
        );
    }
    port_forward(user, &pod);

    user.kubectl(&["scale", "deployment", "web", "--replicas=8"]);
    user.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(
        user.jsonpath(&["deployment", "web"], "{.status.readyReplicas}"),
        "8"
    );
    user.kubectl(&["scale", "deployment", "web", &format!("--replicas={REPLICAS}")]);
    user.kubectl(&["delete", "pod", &first_web_pod(user)]);
    user.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    eventually("six pods again", SOON, || {
        (user.jsonpath(&["deployment", "web"], "{.status.readyReplicas}") == REPLICAS.to_string())
            .then_some(())
    });
}

fn port_forward(user: &User, pod: &str) {
    let mut forward = user
        .kubectl_command(&["port-forward", pod, ":80"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut line = String::new();
    BufReader::new(forward.stdout.as_mut().expect("piped"))
        .read_line(&mut line)
        .expect("kubectl says the port");
    let address: SocketAddr = line
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line:?}"));
    for _ in 0..3 {
        let answer = http::get(address, "/").expect("an answer through the forward");
        assert!(answer.contains(pod), "{answer}");
    }
    forward.kill().expect("kubectl is running");
    forward.wait().expect("it is our child");
}

fn roll(user: &User) {
    user.kubectl(&["delete", "pod", "prober", "--ignore-not-found"]);
    user.kubectl_stdin(&["apply", "-f", "-"], PROBER);
    user.kubectl(&["wait", "pod", "prober", "--for=condition=Ready", "--timeout=60s"]);
    let container = "web";
    user.kubectl(&["set", "image", "deployment/web", &format!("{container}=web:2")]);
    user.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    assert!(ask_web(user).contains("web:2"));
    user.kubectl(&["rollout", "undo", "deployment/web"]);
    user.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    assert!(ask_web(user).contains("web:1"));
    let history = user.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(
        history.contains('2') && history.contains('3') && !history.contains("\n1 "),
        "{history}"
    );
    let log = user.kubectl(&["logs", "prober"]);
    let (failed, served) = (log.matches("failed").count(), log.matches("web-").count());
    assert!(
        served > 100 && failed == 0,
        "{failed} of {} requests failed during the update:\n{log}",
        served + failed
    );
    user.kubectl(&["delete", "pod", "prober", "--now"]);
}

fn apply_production(user: &User) {
    let manifest = include_str!("production.yaml");
    user.kubectl_stdin(&["apply", "-f", "-"], manifest);
    user.kubectl(&[
        "rollout",
        "status",
        "deployment/shop",
        "-n",
        "shop",
        "--timeout=60s",
    ]);
    let unchanged = user.kubectl_stdin(&["apply", "-f", "-"], manifest);
    assert!(
        unchanged.lines().all(|line| line.ends_with("unchanged")),
        "applying twice changes nothing:\n{unchanged}"
    );
    assert_eq!(user.kubectl_stdin(&["diff", "-f", "-"], manifest), "");
    let greeting = user.kubectl(&[
        "exec",
        "-n",
        "shop",
        "deploy/shop",
        "--",
        "cat",
        "/etc/shop/greeting",
    ]);
    assert_eq!(greeting, "hello");
    let environment = user.kubectl(&[
        "exec",
        "-n",
        "shop",
        "deploy/shop",
        "--",
        "sh",
        "-c",
        "echo $LOG_LEVEL $POD_NAME",
    ]);
    assert!(environment.starts_with("debug shop-"), "{environment}");
    assert_eq!(
        user.jsonpath(&["pods", "-n", "shop"], "{.items[0].status.qosClass}"),
        "Burstable"
    );
    user.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]);
    assert!(
        user.try_kubectl(&["get", "namespace", "shop"]).is_none(),
        "the namespace is gone"
    );
}

/// Containers outlive the agent and containerd, and are the same pods' afterwards.
fn adopt(user: &User) {
    let pods = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{\"\\n\"}{end}";
    let before = user.jsonpath(&["pods", "-l", "app=web"], pods);
    for node in node_names(user) {
        let processes = docker(&["top", &container(user, &node), "-eo", "pid,args"]);
        for program in ["rkind node agent", "/usr/bin/containerd "] {
            let row = processes.lines().find(|row| row.contains(program));
            let pid = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
            let pid = pid.unwrap_or_else(|| panic!("no {program} on {node}:\n{processes}"));
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the tests run as root");
        }
    }
    serves_again(user);
    for node in node_names(user) {
        let log = format!("adopted-on-{node}");
        let echo = eventually(&format!("exec on {node}"), SOON, || {
            user.try_kubectl(&["exec", &format!("client-{node}"), "--", "echo", &log])
        });
        assert_eq!(echo.trim(), log);
    }
    assert_eq!(
        user.jsonpath(&["pods", "-l", "app=web"], pods),
        before,
        "the same pods, not restarted"
    );
}

fn stop_and_start(user: &User) {
    let before = identities(user);
    user.rkind(&["stop"]);
    assert!(
        user.try_kubectl(&["get", "nodes", "--request-timeout=2s"])
            .is_none(),
        "a stopped cluster does not answer"
    );
    assert!(
        user.rkind_command(&["status"])
            .output()
            .expect("rkind starts")
            .status
            .code()
            != Some(0)
    );
    user.rkind(&["start"]);
    assert_eq!(identities(user), before, "the same nodes and objects");
    serves_again(user);
}

fn kill_a_node(user: &User) {
    let before = identities(user);
    for node in node_names(user) {
        let container = container(user, &node);
        docker(&["kill", &container]);
        docker(&["start", &container]);
        eventually(&format!("{node} is Ready again"), SOON, || {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            user.try_kubectl(&["get", "node", &node, "-o", path])
                .filter(|ready| ready == "True")
        });
        serves_again(user);
    }
    assert_eq!(identities(user), before, "the same nodes and objects");
}

fn delete(user: &User) {
    user.rkind(&["delete"]);
    let filter = format!("label=dev.rkind.cluster={}", user.profile());
    for listing in [
        &["ps", "-aq"][..],
        &["volume", "ls", "-q"],
        &["network", "ls", "-q"],
    ] {
        let left = docker(&[listing, &["--filter", &filter]].concat());
        assert_eq!(left, "", "docker {listing:?}");
    }
    let kubeconfig = std::fs::read_to_string(user.kubeconfig()).unwrap_or_default();
    assert!(!kubeconfig.contains(user.profile()), "{kubeconfig}");
    let clusters = user.rkind_home().join("clusters");
    let left = std::fs::read_dir(&clusters)
        .map(|entries| entries.count())
        .unwrap_or_default();
    assert_eq!(left, 0, "files in {}", clusters.display());
}

fn serves_again(user: &User) {
    user.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    for node in node_names(user) {
        eventually(&format!("http://web from {node}"), SOON, || {
            fetch(user, &node, "web")
        });
    }
}

/// UIDs of what must survive a restart.
fn identities(user: &User) -> String {
    let path = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    ["nodes", "deployments,replicasets,services,configmaps"]
        .iter()
        .map(|kinds| user.jsonpath(&[kinds], path))
        .collect()
}

fn node_names(user: &User) -> Vec<String> {
    user.jsonpath(&["nodes"], "{.items[*].metadata.name}")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn node_addresses(user: &User) -> Vec<std::net::IpAddr> {
    user.jsonpath(
        &["nodes"],
        "{.items[*].status.addresses[?(@.type==\"InternalIP\")].address}",
    )
    .split_whitespace()
    .map(|address| address.parse().expect("an address"))
    .collect()
}

/// The engine's container of a node.
fn container(user: &User, node: &str) -> String {
    let cluster = format!("label=dev.rkind.cluster={}", user.profile());
    let node = format!("label=dev.rkind.node={node}");
    docker(&["ps", "-aq", "--filter", &cluster, "--filter", &node])
        .trim()
        .to_owned()
}

fn first_web_pod(user: &User) -> String {
    let path = "{range .items[?(@.status.phase==\"Running\")]}{.metadata.name} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    user.jsonpath(&["pods", "-l", "app=web"], path)
        .lines()
        .find_map(|line| {
            line.trim()
                .split_once(' ')
                .is_none()
                .then(|| line.trim().to_owned())
        })
        .expect("a running pod")
}

fn ask_web(user: &User) -> String {
    let node = &node_names(user)[0];
    eventually("http://web", SOON, || fetch(user, node, "web"))
}

fn fetch(user: &User, node: &str, host: &str) -> Option<String> {
    let pod = format!("client-{node}");
    user.try_kubectl(&[
        "exec",
        &pod,
        "--",
        "timeout",
        "3",
        "wget",
        "-q",
        "-O-",
        &format!("http://{host}"),
    ])
}

fn client_pod(node: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: client-{node}\n  labels: {{app: client}}\nspec:\n  nodeName: {node}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: client\n    image: rkind.local/tools:1\n    \
         command: [sh, -c, 'echo client is up; trap exit TERM; while :; do sleep 1; done']\n"
    )
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const PROBER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: prober}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: prober
    image: rkind.local/tools:1
    command: [sh, -c, 'while :; do timeout 3 wget -q -O- http://web || echo failed; done']
";
