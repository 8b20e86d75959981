//! The column definitions of every kind that has its own.

use super::Column;
use crate::meta::is_builtin_group;

const NAME: Column = Column {
    name: "Name",
    ty: "string",
    format: "name",
    description: "The object's name, unique for its kind within the namespace.",
    priority: 0,
};
const AGE: Column = col("Age", "Time since the object was created.");
const CREATED: Column = Column {
    name: "Created At",
    ty: "date",
    format: "",
    description: "When the object was created.",
    priority: 0,
};
const CONTAINERS: Column = wide("Containers", "Names of the template's containers.");
const IMAGES: Column = wide("Images", "Images of the template's containers.");
const SELECTOR: Column = wide("Selector", "Which pods are counted in.");

const fn col(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        ty: "string",
        format: "",
        description,
        priority: 0,
    }
}

const fn int(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        ty: "integer",
        format: "",
        description,
        priority: 0,
    }
}

const fn flag(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        ty: "boolean",
        format: "",
        description,
        priority: 0,
    }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        ty: "string",
        format: "",
        description,
        priority: 1,
    }
}

const REPLICATED: &[Column] = &[
    NAME,
    int("Desired", "Replicas asked for."),
    int("Current", "Replicas that exist."),
    int("Ready", "Replicas that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const BINDING: &[Column] = &[
    NAME,
    col("Role", "The role that is bound."),
    AGE,
    wide("Users", "Users bound."),
    wide("Groups", "Groups bound."),
    wide("ServiceAccounts", "Service accounts bound."),
];

const WEBHOOKS: &[Column] = &[NAME, int("Webhooks", "How many webhooks are configured."), AGE];

const PARAM_KIND: Column = col("ParamKind", "The kind of parameter objects.");

const fn policy_columns(rules: Column) -> [Column; 4] {
    [NAME, rules, PARAM_KIND, AGE]
}

const VALIDATING_POLICY: &[Column] = &policy_columns(int("Validations", "How many rules there are."));
const MUTATING_POLICY: &[Column] = &policy_columns(int("Mutations", "How many mutations there are."));
const POLICY_BINDING: &[Column] = &[
    NAME,
    col("PolicyName", "The policy that is bound."),
    col("ParamRef", "Its parameters."),
    AGE,
];

pub(super) fn of(group: &str, kind: &str) -> &'static [Column] {
    match (group, kind) {
        ("", _) => core(kind),
        ("apps" | "batch" | "autoscaling" | "policy", _) => workloads(kind),
        ("storage.k8s.io", _) => storage(kind),
        (group, _) if !is_builtin_group(group) => const { &[NAME, AGE] },
        _ => rest(group, kind),
    }
}

const DEFAULT: &[Column] = &[NAME, CREATED];

const EVENT: &[Column] = &[
    col("Last Seen", "Time since it was last seen."),
    col("Type", "Normal or Warning."),
    col("Reason", "A short word for why."),
    col("Object", "What it is about."),
    wide("Subobject", "Which part of the object."),
    wide("Source", "Who reports it."),
    col("Message", "What happened."),
    wide("First Seen", "Time since it was first seen."),
    Column {
        name: "Count",
        ty: "integer",
        format: "",
        description: "How often it was seen.",
        priority: 1,
    },
    Column {
        name: "Name",
        ty: "string",
        format: "name",
        description: "The event's name.",
        priority: 1,
    },
];

fn core(kind: &str) -> &'static [Column] {
    match kind {
        "Pod" => {
            const {
                &[
                    NAME,
                    col("Ready", "Containers that are ready, of how many."),
                    col("Status", "What the containers are doing."),
                    col("Restarts", "How often containers restarted, and when last."),
                    AGE,
                    wide("IP", "The pod's first address."),
                    wide("Node", "Where it runs."),
                    wide("Nominated Node", "Where it will run once room is made."),
                    wide("Readiness Gates", "Gates that are true, of how many."),
                ]
            }
        }
        "PodTemplate" => {
            const {
                &[
                    NAME,
                    col("Containers", "Names of the containers."),
                    col("Images", "Images of the containers."),
                    col("Pod Labels", "Labels of the pods."),
                ]
            }
        }
        "ReplicationController" => REPLICATED,
        "Service" => {
            const {
                &[
                    NAME,
                    col("Type", "How it is exposed."),
                    col("Cluster-IP", "Its address in the cluster."),
                    col("External-IP", "Its addresses outside."),
                    col("Port(s)", "Its ports."),
                    AGE,
                    wide("Selector", "Which pods serve it."),
                ]
            }
        }
        "Endpoints" => const { &[NAME, col("Endpoints", "Addresses with ports."), AGE] },
        "Node" => {
            const {
                &[
                    NAME,
                    col("Status", "Whether pods can run on it."),
                    col("Roles", "What its labels say it is for."),
                    AGE,
                    col("Version", "Its kubelet's version."),
                    wide("Internal-IP", "Its address in the cluster's network."),
                    wide("External-IP", "Its address outside."),
                    wide("OS-Image", "Its operating system."),
                    wide("Kernel-Version", "Its kernel."),
                    wide("Container-Runtime", "What runs its containers."),
                ]
            }
        }
        "Event" => EVENT,
        "Namespace" => const { &[NAME, col("Status", "Active or Terminating."), AGE] },
        "Secret" => {
            const {
                &[
                    NAME,
                    col("Type", "What it is for."),
                    int("Data", "How many entries it has."),
                    AGE,
                ]
            }
        }
        "ServiceAccount" => const { &[NAME, int("Secrets", "How many secrets it names."), AGE] },
        "PersistentVolume" => {
            const {
                &[
                    NAME,
                    col("Capacity", "Its size."),
                    col("Access Modes", "How it can be mounted."),
                    col("Reclaim Policy", "What happens when its claim is gone."),
                    col("Status", "Its phase."),
                    col("Claim", "Who has it."),
                    col("StorageClass", "Its storage class."),
                    col("VolumeAttributesClass", "Its attributes class."),
                    col("Reason", "Why it is in its phase."),
                    AGE,
                    wide("VolumeMode", "File system or block device."),
                ]
            }
        }
        "PersistentVolumeClaim" => {
            const {
                &[
                    NAME,
                    col("Status", "Its phase."),
                    col("Volume", "What it is bound to."),
                    col("Capacity", "The volume's size."),
                    col("Access Modes", "How the volume can be mounted."),
                    col("StorageClass", "Its storage class."),
                    col("VolumeAttributesClass", "Its attributes class."),
                    AGE,
                    wide("VolumeMode", "File system or block device."),
                ]
            }
        }
        "ComponentStatus" => {
            const {
                &[
                    NAME,
                    col("Status", "Healthy or not."),
                    col("Message", "What it says."),
                    col("Error", "What is wrong."),
                ]
            }
        }
        "ConfigMap" => const { &[NAME, int("Data", "How many entries it has."), AGE] },
        "ResourceQuota" => {
            const {
                &[
                    NAME,
                    col("Request", "Requests used, of how much."),
                    col("Limit", "Limits used, of how much."),
                    AGE,
                ]
            }
        }
        _ => DEFAULT,
    }
}

fn workloads(kind: &str) -> &'static [Column] {
    match kind {
        "Deployment" => {
            const {
                &[
                    NAME,
                    col("Ready", "Replicas that are ready, of how many."),
                    int("Up-to-date", "Replicas of the newest template."),
                    int("Available", "Replicas that have been ready long enough."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "ReplicaSet" => REPLICATED,
        "DaemonSet" => {
            const {
                &[
                    NAME,
                    int("Desired", "Nodes that should run it."),
                    int("Current", "Nodes that run it."),
                    int("Ready", "Nodes on which it is ready."),
                    int("Up-to-date", "Nodes with the newest template."),
                    int("Available", "Nodes on which it has been ready long enough."),
                    col("Node Selector", "Which nodes are meant."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "StatefulSet" => {
            const {
                &[
                    NAME,
                    col("Ready", "Replicas that are ready, of how many."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                ]
            }
        }
        "ControllerRevision" => {
            const {
                &[
                    NAME,
                    col("Controller", "Whose revision it is."),
                    int("Revision", "Its number."),
                    AGE,
                ]
            }
        }
        "Job" => {
            const {
                &[
                    NAME,
                    col("Status", "Whether it runs, is done or failed."),
                    col("Completions", "Pods that succeeded, of how many."),
                    col("Duration", "How long it took or takes."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "CronJob" => {
            const {
                &[
                    NAME,
                    col("Schedule", "When it runs, as cron says it."),
                    col("Timezone", "Whose time the schedule means."),
                    flag("Suspend", "Whether it pauses."),
                    int("Active", "Jobs that run now."),
                    col("Last Schedule", "Time since a job was last started."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "HorizontalPodAutoscaler" => {
            const {
                &[
                    NAME,
                    col("Reference", "What it scales."),
                    col("Targets", "What is measured, and what is aimed at."),
                    col("MinPods", "Fewest replicas."),
                    int("MaxPods", "Most replicas."),
                    int("Replicas", "Replicas now."),
                    AGE,
                ]
            }
        }
        "PodDisruptionBudget" => {
            const {
                &[
                    NAME,
                    col("Min Available", "Pods that must stay."),
                    col("Max Unavailable", "Pods that may be missing."),
                    int("Allowed Disruptions", "Pods that may be evicted now."),
                    AGE,
                ]
            }
        }
        _ => DEFAULT,
    }
}

fn storage(kind: &str) -> &'static [Column] {
    match kind {
        "StorageClass" => {
            const {
                &[
                    NAME,
                    col("Provisioner", "Who makes the volumes."),
                    col("ReclaimPolicy", "What happens to volumes without claim."),
                    col("VolumeBindingMode", "When volumes are made."),
                    flag("AllowVolumeExpansion", "Whether volumes can grow."),
                    AGE,
                ]
            }
        }
        "VolumeAttributesClass" => const { &[NAME, col("DriverName", "Whose attributes they are."), AGE] },
        "VolumeAttachment" => {
            const {
                &[
                    NAME,
                    col("Attacher", "Who attaches."),
                    col("PV", "What is attached."),
                    col("Node", "Where to."),
                    flag("Attached", "Whether it is done."),
                    AGE,
                ]
            }
        }
        "CSINode" => const { &[NAME, int("Drivers", "How many drivers it has."), AGE] },
        "CSIDriver" => {
            const {
                &[
                    NAME,
                    flag("AttachRequired", "Whether volumes are attached first."),
                    flag("PodInfoOnMount", "Whether it is told of the pod."),
                    flag("StorageCapacity", "Whether it reports capacity."),
                    col("TokenRequests", "Audiences of tokens it gets."),
                    flag("RequiresRepublish", "Whether it is called again and again."),
                    col("Modes", "Lifecycles it supports."),
                    AGE,
                ]
            }
        }
        "CSIStorageCapacity" => {
            const {
                &[
                    NAME,
                    col("StorageClassName", "Of which class."),
                    col("Capacity", "How much is left."),
                    AGE,
                ]
            }
        }
        _ => DEFAULT,
    }
}

fn rest(group: &str, kind: &str) -> &'static [Column] {
    match (group, kind) {
        ("events.k8s.io", "Event") => EVENT,
        ("networking.k8s.io", "Ingress") => {
            const {
                &[
                    NAME,
                    col("Class", "Whose it is."),
                    col("Hosts", "Names that are served."),
                    col("Address", "Where it is reached."),
                    col("Ports", "Ports that are open."),
                    AGE,
                ]
            }
        }
        ("networking.k8s.io", "IngressClass") => {
            const {
                &[
                    NAME,
                    col("Controller", "Who serves it."),
                    col("Parameters", "What it is configured with."),
                    AGE,
                ]
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => {
            const { &[NAME, col("Pod-Selector", "Which pods it is about."), AGE] }
        }
        ("networking.k8s.io", "ServiceCIDR") => const { &[NAME, col("CIDRs", "Its address ranges."), AGE] },
        ("networking.k8s.io", "IPAddress") => const { &[NAME, col("ParentRef", "Who has it."), AGE] },
        ("discovery.k8s.io", "EndpointSlice") => {
            const {
                &[
                    NAME,
                    col("AddressType", "What kind of addresses."),
                    col("Ports", "Its ports."),
                    col("Endpoints", "Its addresses."),
                    AGE,
                ]
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        ("coordination.k8s.io", "Lease") => const { &[NAME, col("Holder", "Who holds it."), AGE] },
        ("scheduling.k8s.io", "PriorityClass") => {
            const {
                &[
                    NAME,
                    int("Value", "Its priority."),
                    flag("Global-Default", "Whether pods without class get it."),
                    AGE,
                    col("PreemptionPolicy", "Whether it evicts others."),
                ]
            }
        }
        ("node.k8s.io", "RuntimeClass") => {
            const { &[NAME, col("Handler", "The runtime's name for it."), AGE] }
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            const {
                &[
                    NAME,
                    AGE,
                    col("SignerName", "Who is to sign."),
                    col("Requestor", "Who asks."),
                    col("RequestedDuration", "For how long."),
                    col("Condition", "What came of it."),
                ]
            }
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => WEBHOOKS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => VALIDATING_POLICY,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => MUTATING_POLICY,
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => POLICY_BINDING,
        ("apiregistration.k8s.io", "APIService") => {
            const {
                &[
                    NAME,
                    col("Service", "Who serves it."),
                    col("Available", "Whether it answers."),
                    AGE,
                ]
            }
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            const {
                &[
                    NAME,
                    col("PriorityLevel", "Where its requests go."),
                    int("MatchingPrecedence", "Lower is asked first."),
                    col("DistinguisherMethod", "What makes a flow."),
                    AGE,
                    col("MissingPL", "Whether its priority level is missing."),
                ]
            }
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            const {
                &[
                    NAME,
                    col("Type", "Limited or Exempt."),
                    col("NominalConcurrencyShares", "Its share."),
                    col("Queues", "How many queues."),
                    col("HandSize", "Queues per flow."),
                    col("QueueLengthLimit", "Requests per queue."),
                    AGE,
                ]
            }
        }
        ("resource.k8s.io", "ResourceClaim") => {
            const { &[NAME, col("State", "Whether it is allocated."), AGE] }
        }
        ("resource.k8s.io", "ResourceClaimTemplate" | "DeviceClass") => const { &[NAME, AGE] },
        ("resource.k8s.io", "ResourceSlice") => {
            const {
                &[
                    NAME,
                    col("Node", "Where the devices are."),
                    col("Driver", "Whose they are."),
                    col("Pool", "To which pool they belong."),
                    AGE,
                ]
            }
        }
        _ => DEFAULT,
    }
}
