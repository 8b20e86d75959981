//! Components' flags that a cluster can set: `extraConfig` in a file, `--extra-config
//! component.flag=value` on the command line. Components and flags have upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::Problem;

/// The component whose flags are not read here: the room that serves the API knows them.
pub const APISERVER: &str = "apiserver";

/// The text form: `component -> flag -> value`.
pub type ExtraConfig = BTreeMap<String, BTreeMap<String, String>>;

/// What was set; `None` leaves a component's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentFlags {
    /// `controller-manager.node-monitor-grace-period`
    pub node_monitor_grace_period: Option<Duration>,
    /// `controller-manager.terminated-pod-gc-threshold`
    pub terminated_pod_gc_threshold: Option<usize>,
    /// `kubelet.max-pods`
    pub max_pods: Option<u32>,
}

/// Reads one flag's value.
type Read = fn(&mut ComponentFlags, &str) -> Result<(), String>;

/// Every flag there is, but for [`APISERVER`]'s.
const FLAGS: [(&str, &str, Read); 3] = [
    (
        "controller-manager",
        "node-monitor-grace-period",
        |flags, text| {
            flags.node_monitor_grace_period = Some(duration(text)?);
            Ok(())
        },
    ),
    (
        "controller-manager",
        "terminated-pod-gc-threshold",
        |flags, text| {
            flags.terminated_pod_gc_threshold = Some(number(text)?);
            Ok(())
        },
    ),
    ("kubelet", "max-pods", |flags, text| {
        flags.max_pods = Some(number(text)?);
        Ok(())
    }),
];

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no number from 0 up"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = text.parse().ok();
    let positive = parsed
        .and_then(|d| Duration::try_from(d).ok())
        .filter(|d| !d.is_zero());
    positive.ok_or_else(|| format!("{text:?} is no duration; write for example 40s or 1m30s"))
}

impl ComponentFlags {
    /// Reads the text form, but for [`APISERVER`]'s.
    ///
    /// # Errors
    /// Every flag that is unknown or has a value of another kind, by its field `extraConfig.component.flag`.
    pub fn read(extra: &ExtraConfig) -> Result<Self, Vec<Problem>> {
        let (mut read, mut problems) = (Self::default(), Vec::new());
        let others = extra.iter().filter(|(component, _)| *component != APISERVER);
        let given = others.flat_map(|(component, flags)| {
            flags
                .iter()
                .map(move |(flag, value)| (component.as_str(), flag.as_str(), value))
        });
        for (component, flag, value) in given {
            let known = FLAGS.iter().find(|(c, f, _)| (*c, *f) == (component, flag));
            let outcome = match known {
                Some((_, _, set)) => set(&mut read, value),
                None => Err(unknown(component)),
            };
            if let Err(message) = outcome {
                problems.push(Problem::new(field(component, flag), message));
            }
        }
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(problems)
        }
    }
}

/// What a flag is called in messages.
pub fn field(component: &str, flag: &str) -> String {
    format!("extraConfig.{component}.{flag}")
}

fn unknown(component: &str) -> String {
    let of_it: Vec<&str> = FLAGS
        .iter()
        .filter(|(c, ..)| *c == component)
        .map(|(_, flag, _)| *flag)
        .collect();
    if of_it.is_empty() {
        let mut components: Vec<&str> = FLAGS.iter().map(|(c, ..)| *c).collect();
        components.insert(0, APISERVER);
        components.dedup();
        return format!(
            "is no component that has flags; these have: {}",
            components.join(", ")
        );
    }
    format!(
        "is no flag that can be set; {component} has: {}",
        of_it.join(", ")
    )
}
