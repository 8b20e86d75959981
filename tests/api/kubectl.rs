//! kubectl, as a user types it.

use std::io::BufRead as _;
use std::process::Stdio;

use crate::server::{Server, program};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: 'registry.example/c:1', ports: [{containerPort: 80}]}
";

/// Runs calls in order, `~` standing for a space within a word; each must succeed and print what it should.
#[track_caller]
pub(crate) fn run(server: &Server, calls: &[(&str, &str)]) {
    for (call, wanted) in calls {
        let words: Vec<String> = call.split(' ').map(|word| word.replace('~', " ")).collect();
        let said = server.kubectl(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            said.contains(wanted),
            "kubectl {call}: {wanted:?} is not in\n{said}"
        );
    }
}

#[test]
fn apply_diff_and_replace() {
    let server = Server::start();
    let k = |args: &[&str], input: &str| server.kubectl_with(args, input);
    assert_eq!(k(&["apply", "-f", "-"], WEB), "deployment.apps/web created\n");
    assert_eq!(k(&["apply", "-f", "-"], WEB), "deployment.apps/web unchanged\n");
    let changed = WEB.replace("replicas: 2", "replicas: 3").replace("c:1", "c:2");
    let (code, diff, _) = server.try_kubectl(&["diff", "-f", "-"], &changed);
    assert_eq!(code, 1);
    assert!(
        diff.contains("-  replicas: 2") && diff.contains("+  replicas: 3"),
        "{diff}"
    );
    let dry = k(&["apply", "--dry-run=server", "-f", "-"], &changed);
    assert_eq!(dry, "deployment.apps/web configured (server dry run)\n");
    assert_eq!(
        k(&["apply", "-f", "-"], &changed),
        "deployment.apps/web configured\n"
    );
    assert_eq!(server.try_kubectl(&["diff", "-f", "-"], &changed).0, 0);
    // A field that is no longer applied is removed.
    let fewer = changed.replace(", ports: [{containerPort: 80}]", "");
    k(&["apply", "-f", "-"], &fewer);
    let ports = server.kubectl(&[
        "get",
        "deploy/web",
        "-o=jsonpath={.spec.template.spec.containers[0].ports}",
    ]);
    assert_eq!(ports, "");
    let whole = server.kubectl(&["get", "deploy", "web", "-o", "yaml"]);
    assert_eq!(
        k(&["replace", "-f", "-"], &whole),
        "deployment.apps/web replaced\n"
    );
    assert!(k(&["delete", "-f", "-"], WEB).starts_with("deployment.apps \"web\" deleted"));
}

#[test]
fn server_side_apply() {
    let server = Server::start();
    let apply = |manager: &str, input: &str, force: bool| {
        let manager = format!("--field-manager={manager}");
        let mut args = vec!["apply", "--server-side", &*manager, "-f", "-"];
        if force {
            args.push("--force-conflicts");
        }
        server.try_kubectl(&args, input)
    };
    assert_eq!(
        apply("one", WEB, false).1,
        "deployment.apps/web serverside-applied\n"
    );
    let other = WEB.replace("replicas: 2", "replicas: 9");
    let (code, _, said) = apply("two", &other, false);
    assert_eq!(code, 1);
    assert!(
        said.contains("Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"),
        "{said}"
    );
    assert_eq!(apply("two", &other, true).0, 0);
    let owned = server.kubectl(&["get", "deploy/web", "-o=yaml", "--show-managed-fields"]);
    assert!(
        owned.contains("manager: one") && owned.contains("manager: two"),
        "{owned}"
    );
    // From client-side apply to server-side apply: the annotation's fields change their owner.
    server.kubectl_with(
        &["apply", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b, c: d}\n",
    );
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n";
    assert_eq!(apply("kubectl", map, false).0, 0);
    assert_eq!(
        server.kubectl(&["get", "cm/m", "-o=jsonpath={.data}"]),
        r#"{"a":"b"}"#
    );
}

#[test]
fn reads() {
    let server = Server::start();
    server.kubectl_with(&["apply", "-f", "-"], WEB);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\n\
        spec: {nodeName: n1, containers: [{name: c, image: 'registry.example/c:1'}]}\n";
    server.kubectl_with(&["create", "-f", "-"], pod);
    run(
        &server,
        &[
            (
                "get deployments",
                "NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2     0            0           ",
            ),
            (
                "get deploy -o wide",
                "CONTAINERS   IMAGES                 SELECTOR",
            ),
            (
                "get pods",
                "NAME   READY   STATUS    RESTARTS   AGE\np      0/1     Pending   0          ",
            ),
            ("get pods -o wide", "NOMINATED NODE   READINESS GATES"),
            ("get pods --show-labels", "app=web"),
            ("get pods -L app", "APP"),
            ("get po,deploy -o name", "pod/p\ndeployment.apps/web\n"),
            ("get all", "pod/p"),
            ("get pods -A", "NAMESPACE   NAME"),
            ("get pods -l app=web -o jsonpath={.items[*].metadata.name}", "p"),
            ("get pods --field-selector spec.nodeName=n1 -o name", "pod/p"),
            (
                "get pod p -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName",
                "NAME   NODE\np      n1",
            ),
            ("get pod p -o go-template={{.spec.restartPolicy}}", "Always"),
            ("get pod p -o yaml", "dnsPolicy: ClusterFirst"),
            ("get pod p -o json", "\"qosClass\": \"BestEffort\""),
            ("get pods --sort-by=.metadata.name --no-headers", "p "),
            ("get pods --chunk-size=1", "p "),
            ("get --raw /readyz?verbose", "readyz check passed"),
            ("get --raw /version", "v1.35.0"),
            ("get ns default -o jsonpath={.status.phase}", "Active"),
            ("describe deployment web", "25% max unavailable, 25% max surge"),
            ("describe pod p", "Node:         n1/"),
            ("describe ns default", "No resource quota."),
            ("version", "Server Version: v1.35.0"),
            ("cluster-info", "Kubernetes control plane"),
            ("api-versions", "resource.k8s.io/v1\n"),
            (
                "api-resources --namespaced=true --verbs=list -o name",
                "deployments.apps",
            ),
            (
                "api-resources --api-group=batch --no-headers",
                "cronjobs   cj    batch/v1   true   CronJob",
            ),
            ("api-resources --categories=all -o name", "pods\n"),
            (
                "explain deployment.spec.strategy.type",
                "ENUM:\n    Recreate\n    RollingUpdate",
            ),
            ("explain pods --recursive", "ephemeralContainers"),
            (
                "explain pod.spec.restartPolicy",
                "Restart policy for all containers within the pod.",
            ),
            (
                "explain pod.metadata.name",
                "Name must be unique within a namespace.",
            ),
            (
                "explain service.spec.ports.targetPort",
                "Number or name of the port to access on the pods targeted by the service.",
            ),
            ("explain hpa --api-version=autoscaling/v1", "VERSION:    v1"),
            ("auth can-i create pods", "yes"),
            ("auth can-i --list", "*.*"),
            (
                "auth whoami -o jsonpath={.status.userInfo.username}",
                "kubernetes-admin",
            ),
            ("events", ""),
        ],
    );
    let (code, said, _) = server.try_kubectl(&["auth", "can-i", "create", "pods", "--as=jane"], "");
    assert_eq!((code, said.as_str()), (1, "no\n"));
    let (code, _, said) = server.try_kubectl(&["get", "pod", "none"], "");
    assert_eq!(
        (code, said.as_str()),
        (1, "Error from server (NotFound): pods \"none\" not found\n")
    );
    let (code, _, said) = server.try_kubectl(&["get", "nonsense"], "");
    assert_eq!(code, 1);
    assert!(
        said.contains("the server doesn't have a resource type \"nonsense\""),
        "{said}"
    );
}

#[test]
fn generators() {
    let server = Server::start();
    run(
        &server,
        &[
            ("create namespace n", "namespace/n created"),
            ("create configmap m --from-literal=a=b", "configmap/m created"),
            ("create secret generic s --from-literal=a=b", "secret/s created"),
            (
                "create secret docker-registry d --docker-server=registry.example --docker-username=u --docker-password=p",
                "secret/d created",
            ),
            ("create serviceaccount robot", "serviceaccount/robot created"),
            (
                "create deployment d --image=registry.example/c:1 --replicas=2 --port=80",
                "deployment.apps/d created",
            ),
            ("create job j --image=registry.example/c:1", "job.batch/j created"),
            (
                "create cronjob c --image=registry.example/c:1 --schedule=*/5~*~*~*~*",
                "cronjob.batch/c created",
            ),
            ("create job again --from=cronjob/c", "job.batch/again created"),
            (
                "create quota q --hard=pods=3,requests.cpu=2",
                "resourcequota/q created",
            ),
            (
                "create priorityclass p --value=7",
                "priorityclass.scheduling.k8s.io/p created",
            ),
            (
                "create poddisruptionbudget b --selector=app=d --min-available=1",
                "poddisruptionbudget.policy/b created",
            ),
            (
                "create role r --verb=get --resource=pods",
                "role.rbac.authorization.k8s.io/r created",
            ),
            (
                "create rolebinding rb --role=r --user=jane",
                "rolebinding.rbac.authorization.k8s.io/rb created",
            ),
            (
                "create clusterrole cr --verb=list --resource=nodes",
                "clusterrole.rbac.authorization.k8s.io/cr created",
            ),
            (
                "create clusterrolebinding crb --clusterrole=cr --group=dev",
                "clusterrolebinding.rbac.authorization.k8s.io/crb created",
            ),
            ("create service clusterip ci --tcp=80:8080", "service/ci created"),
            ("create service nodeport np --tcp=80", "service/np created"),
            ("create service loadbalancer lb --tcp=80", "service/lb created"),
            (
                "create service externalname en --external-name=example.com",
                "service/en created",
            ),
            (
                "create ingress i --rule=example.com/*=ci:80",
                "ingress.networking.k8s.io/i created",
            ),
            ("create token robot", "ey"),
            (
                "run p --image=registry.example/c:1 --labels=app=d",
                "pod/p created",
            ),
            (
                "expose deployment d --port=80 --name=exposed",
                "service/exposed exposed",
            ),
            (
                "autoscale deployment d --max=5 --cpu-percent=50",
                "horizontalpodautoscaler.autoscaling/d autoscaled",
            ),
            (
                "get svc,ing,hpa,pdb,quota,sa,cm,secret,cj,job,role,rolebinding -o name",
                "service/en",
            ),
            ("get hpa d", "cpu: <unknown>/50%"),
        ],
    );
    assert_eq!(
        server
            .try_kubectl(&["auth", "can-i", "get", "pods", "--as=jane"], "")
            .1,
        "yes\n"
    );
}

#[test]
fn changes() {
    let server = Server::start();
    server.kubectl_with(&["apply", "-f", "-"], WEB);
    run(
        &server,
        &[
            ("label deploy web tier=front", "deployment.apps/web labeled"),
            ("label deploy web tier=back --overwrite", "labeled"),
            ("label deploy web tier-", "unlabeled"),
            ("annotate deploy web note=x", "deployment.apps/web annotated"),
            ("scale deploy web --replicas=5", "deployment.apps/web scaled"),
            ("scale deploy web --current-replicas=5 --replicas=1", "scaled"),
            ("set image deploy/web c=registry.example/c:2", "image updated"),
            ("set env deploy/web A=b", "env updated"),
            (
                "set resources deploy/web --requests=cpu=10m",
                "resource requirements updated",
            ),
            ("set serviceaccount deploy/web robot", "serviceaccount updated"),
            ("rollout pause deploy/web", "paused"),
            ("rollout resume deploy/web", "resumed"),
            ("rollout restart deploy/web", "restarted"),
            ("rollout history deploy/web", "deployment.apps/web"),
            (
                r#"patch deploy web -p {"spec":{"template":{"spec":{"containers":[{"name":"c","tty":true}]}}}}"#,
                "patched",
            ),
            (
                r#"patch deploy web --type=merge -p {"spec":{"paused":true}}"#,
                "patched",
            ),
            (
                r#"patch deploy web --type=json -p [{"op":"remove","path":"/spec/paused"}]"#,
                "patched",
            ),
            (
                r#"patch deploy web --subresource=scale --type=merge -p {"spec":{"replicas":4}}"#,
                "patched",
            ),
            (
                r#"patch deploy web --subresource=status --type=merge -p {"status":{"observedGeneration":9}}"#,
                "patched",
            ),
            (
                "get deploy web -o jsonpath={.spec.replicas}{.status.observedGeneration}{.spec.template.spec.containers[0].tty}",
                "49true",
            ),
            (
                "wait deploy/web --for=jsonpath={.spec.replicas}=4 --timeout=10s",
                "condition met",
            ),
            ("run p --image=registry.example/c:1", "pod/p created"),
            ("delete pod p --now", "deleted"),
            ("wait pod/p --for=delete --timeout=10s", ""),
            ("delete deploy --all", "deleted"),
            ("get deploy", ""),
        ],
    );
}

#[test]
fn invalid_files_are_refused_with_every_fault() {
    let server = Server::start();
    let (code, _, said) =
        server.try_kubectl(&["apply", "-f", "-"], &WEB.replace("replicas: 2", "replica: 2"));
    assert_eq!(code, 1);
    assert!(said.contains("unknown field \"spec.replica\""), "{said}");
    let bad = WEB
        .replace("name: c,", "name: C_,")
        .replace("app: web}}\n    spec", "app: other}}\n    spec");
    let (_, _, said) = server.try_kubectl(&["apply", "-f", "-"], &bad);
    for fault in [
        "The Deployment \"web\" is invalid:",
        "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`",
        "spec.template.spec.containers[0].name: Invalid value: \"C_\"",
    ] {
        assert!(said.contains(fault), "{fault}\n{said}");
    }
}

#[test]
fn get_watch() {
    let server = Server::start();
    let mut child = server
        .command(&program("KUBECTL_BIN"), &["get", "cm", "--watch", "-o", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    for name in ["a", "b"] {
        server.kubectl(&["create", "configmap", name]);
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("configmap/{name}"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn proxy() {
    let server = Server::start();
    let mut child = server
        .command(&program("KUBECTL_BIN"), &["proxy", "--port=0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = std::io::BufReader::new(child.stdout.take().unwrap())
        .lines()
        .next()
        .unwrap()
        .unwrap();
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    let answer = rkind_tests::http::get(address, "/api/v1/namespaces/default").unwrap();
    assert!(answer.contains("\"name\":\"default\""), "{answer}");
    child.kill().unwrap();
    child.wait().unwrap();
}
