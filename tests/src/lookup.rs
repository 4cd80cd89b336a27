//! Herald's own program for `sk_lookup`, loaded by a test that gives a listener the connections to an address which
//! nobody has bound.

use std::fs::File;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, PerCpuArray, SockMap};
use aya::programs::SkLookup;
use aya::{Ebpf, EbpfLoader};
use proxy_common::address::FAMILY_IPV4;
use proxy_common::{Address, Counter, LAYOUT_GLOBAL, LAYOUT_VERSION};

/// The program, attached to this network namespace until it is dropped.
#[derive(Debug)]
pub struct Lookup(Ebpf);

impl Lookup {
    /// Gives connections to `address` to `listener`, which so sits in a sockmap.
    pub fn assign(address: SocketAddrV4, listener: &OwnedFd) -> Self {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        loader.override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true);
        loader.override_global("WORKER_COUNT", &1_u32, true);
        loader.override_global("WANTS_EVENTS", &0_u32, true);
        let mut ebpf = loader.load(OBJECT).unwrap();
        let anchors = ebpf.map_mut("ANCHORS").unwrap();
        let mut anchors = SockMap::try_from(anchors).unwrap();
        anchors.set(SERVICE, listener, 0).unwrap();
        let addresses = ebpf.map_mut("ADDRESSES").unwrap();
        let mut addresses: HashMap<_, Address, u32> = HashMap::try_from(addresses).unwrap();
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&address.ip().octets());
        let key = Address {
            octets,
            family: FAMILY_IPV4,
            port: u32::from(address.port()),
        };
        addresses.insert(key, SERVICE, 0).unwrap();
        let program = ebpf.program_mut("herald_lookup").unwrap();
        let program: &mut SkLookup = program.try_into().unwrap();
        program.load().unwrap();
        let namespace = File::open("/proc/self/ns/net").unwrap();
        program.attach(namespace).unwrap();
        Self(ebpf)
    }

    /// How many connections it has given away.
    pub fn assigned(&self) -> u64 {
        let counts = self.0.map("COUNTS").unwrap();
        let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(counts).unwrap();
        let words = counts.get(&Counter::LookupAssigned.index(), 0).unwrap();
        words.iter().sum()
    }
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../proxy/ebpf/steering.bpf.o");
const SERVICE: u32 = 0;
