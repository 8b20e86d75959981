use clap::Args;

use super::name;

/// How nodes' kubelets are reached.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Kubelets")]
pub struct Kubelets {
    /// Types of nodes' addresses at which a kubelet is asked, the first that a node has
    #[arg(
        long,
        value_name = "TYPES",
        value_delimiter = ',',
        value_parser = name,
        default_value = "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"
    )]
    pub kubelet_preferred_address_types: Vec<String>,
}

impl Default for Kubelets {
    fn default() -> Self {
        let types = [
            "Hostname",
            "InternalDNS",
            "InternalIP",
            "ExternalDNS",
            "ExternalIP",
        ];
        Kubelets {
            kubelet_preferred_address_types: types.map(str::to_owned).into(),
        }
    }
}
