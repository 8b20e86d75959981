//! Tracked UDP flows that lead to an endpoint which is gone.

use rkind_sys::conntrack::{Conntrack, Flow};

use crate::plan::UdpFronts;

const UDP: u8 = 17;

/// Whether packets of `flow` would go elsewhere if they were translated now:
/// its endpoint is gone, or it was never translated and now could be.
fn is_stale(flow: &Flow, fronts: &UdpFronts) -> bool {
    if flow.original.protocol != UDP {
        return false;
    }
    let to = flow.original.destination;
    let by_address = fronts.addresses.get(&to);
    // A NodePort answers on many addresses; untranslated flows to such a port may
    // be anybody's.
    let by_port = || fronts.node_ports.get(&to.port()).filter(|_| flow.is_translated());
    let Some(endpoints) = by_address.or_else(by_port) else {
        return false;
    };
    match flow.is_translated() {
        true => !endpoints.contains(&flow.reply.source),
        false => !endpoints.is_empty(),
    }
}

/// Forgets them; how many there were. Blocks as long as the kernel takes to list
/// its flows.
pub(crate) fn forget(fronts: &UdpFronts) -> rkind_sys::Result<usize> {
    Conntrack::here()?.forget_if(false, |flow| is_stale(flow, fronts))
}
