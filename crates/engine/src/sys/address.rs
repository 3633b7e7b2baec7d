//! Socket addresses in a compact form, and their way to and from `sockaddr`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of one end of a socket.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum SocketAddress {
    /// An IPv4 or IPv6 address; `scope` is the interface index of a link-local IPv6 address, else 0.
    Ip {
        /// The host.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// Interface index for link-local IPv6 addresses.
        scope: u32,
    },
    /// A Unix socket's path, or its abstract name behind a leading NUL (unix(7)).
    Unix(Box<[u8]>),
    /// No name: a socket pair, or a Unix client that did not bind.
    #[default]
    Unnamed,
}

/// A `sockaddr` in the kernel's form.
#[derive(Clone, Copy)]
pub struct RawAddress {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) length: libc::socklen_t,
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddress::from_raw(self).fmt(f)
    }
}

impl RawAddress {
    /// Room for any address, to be filled by the kernel.
    pub fn empty() -> RawAddress {
        // SAFETY: all zeroes is a valid sockaddr_storage (family AF_UNSPEC).
        let storage = unsafe { std::mem::zeroed() };
        RawAddress { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// Whether both are the same place.
    pub fn is_same(&self, other: &RawAddress) -> bool {
        let length = (self.length as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: both storages are initialised to their full size, and `length` is within it.
        let [one, two] =
            [self, other].map(|raw| unsafe { std::slice::from_raw_parts(raw.as_ptr().cast::<u8>(), length) });
        self.length == other.length && one == two
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }
}

const PATH_OFFSET: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

impl SocketAddress {
    /// An IP address without a scope.
    pub fn ip(ip: IpAddr, port: u16) -> SocketAddress {
        SocketAddress::Ip { ip, port, scope: 0 }
    }

    /// The address family (`AF_INET`, `AF_INET6`, `AF_UNIX`).
    pub fn family(&self) -> i32 {
        match self {
            SocketAddress::Ip { ip: IpAddr::V4(_), .. } => libc::AF_INET,
            SocketAddress::Ip { ip: IpAddr::V6(_), .. } => libc::AF_INET6,
            SocketAddress::Unix(_) | SocketAddress::Unnamed => libc::AF_UNIX,
        }
    }

    /// The kernel's form. A Unix name longer than `sun_path` is cut; [`SocketAddress::fits`] tells before.
    pub fn to_raw(&self) -> RawAddress {
        let mut raw = RawAddress::empty();
        match self {
            SocketAddress::Ip { ip: IpAddr::V4(ip), port, .. } => {
                let inner = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: port.to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_storage is large and aligned enough for every sockaddr type.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(inner) };
                raw.length = size_of::<libc::sockaddr_in>() as u32;
            }
            SocketAddress::Ip { ip: IpAddr::V6(ip), port, scope } => {
                let inner = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: port.to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: *scope,
                };
                // SAFETY: as above.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(inner) };
                raw.length = size_of::<libc::sockaddr_in6>() as u32;
            }
            SocketAddress::Unix(name) => {
                // SAFETY: all zeroes is a valid sockaddr_un.
                let mut inner: libc::sockaddr_un = unsafe { std::mem::zeroed() };
                inner.sun_family = libc::AF_UNIX as u16;
                let length = name.len().min(inner.sun_path.len());
                for (slot, byte) in inner.sun_path.iter_mut().zip(&name[..length]) {
                    *slot = *byte as libc::c_char;
                }
                // A path carries its NUL; an abstract name is exactly its bytes.
                let ending = usize::from(name.first() != Some(&0) && length < inner.sun_path.len());
                // SAFETY: as above.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_un>().write(inner) };
                raw.length = (PATH_OFFSET + length + ending) as u32;
            }
            SocketAddress::Unnamed => {
                raw.storage.ss_family = libc::AF_UNIX as u16;
                raw.length = size_of::<libc::sa_family_t>() as u32;
            }
        }
        raw
    }

    /// Whether a Unix name fits into `sun_path` (108 bytes with a path's NUL).
    pub fn fits(&self) -> bool {
        match self {
            SocketAddress::Unix(name) => name.len() + usize::from(name.first() != Some(&0)) <= 108,
            _ => true,
        }
    }

    /// Reads what the kernel wrote.
    pub fn from_raw(raw: &RawAddress) -> SocketAddress {
        match i32::from(raw.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which type the storage holds.
                let inner = unsafe { &*(&raw const raw.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(inner.sin_addr.s_addr.to_ne_bytes());
                SocketAddress::ip(ip.into(), u16::from_be(inner.sin_port))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let inner = unsafe { &*(&raw const raw.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(inner.sin6_addr.s6_addr);
                let port = u16::from_be(inner.sin6_port);
                // A dual-stack listener's IPv4 peers are IPv4 peers to everybody.
                match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddress::ip(ip.into(), port),
                    None => SocketAddress::Ip { ip: ip.into(), port, scope: inner.sin6_scope_id },
                }
            }
            libc::AF_UNIX if raw.length as usize > PATH_OFFSET => {
                // SAFETY: as above.
                let inner = unsafe { &*(&raw const raw.storage).cast::<libc::sockaddr_un>() };
                let length = (raw.length as usize - PATH_OFFSET).min(inner.sun_path.len());
                let mut name: Vec<u8> = inner.sun_path[..length].iter().map(|c| *c as u8).collect();
                if name.first() != Some(&0) {
                    name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
                }
                if name.is_empty() { SocketAddress::Unnamed } else { SocketAddress::Unix(name.into()) }
            }
            _ => SocketAddress::Unnamed,
        }
    }

    /// The form that an AF_INET6 socket can send to: IPv4 becomes IPv4-mapped.
    pub fn mapped_to_v6(&self) -> SocketAddress {
        match self {
            SocketAddress::Ip { ip: IpAddr::V4(ip), port, scope } => {
                SocketAddress::Ip { ip: ip.to_ipv6_mapped().into(), port: *port, scope: *scope }
            }
            other => other.clone(),
        }
    }
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketAddress::Ip { ip: IpAddr::V6(ip), port, .. } => write!(f, "[{ip}]:{port}"),
            SocketAddress::Ip { ip, port, .. } => write!(f, "{ip}:{port}"),
            SocketAddress::Unix(name) => write!(f, "{}", String::from_utf8_lossy(name).replace('\0', "@")),
            SocketAddress::Unnamed => write!(f, "unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(address: &SocketAddress) {
        assert_eq!(&SocketAddress::from_raw(&address.to_raw()), address);
    }

    #[test]
    fn addresses_survive_the_kernel_form() {
        round_trip(&SocketAddress::ip("127.0.0.1".parse().unwrap(), 7000));
        round_trip(&SocketAddress::Ip { ip: "fe80::1".parse().unwrap(), port: 1, scope: 3 });
        round_trip(&SocketAddress::Unix(b"/tmp/a".as_slice().into()));
        round_trip(&SocketAddress::Unix(b"\0abstract\0name".as_slice().into()));
        round_trip(&SocketAddress::Unix([b'x'; 107].as_slice().into()));
        round_trip(&SocketAddress::Unnamed);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let v4 = SocketAddress::ip("10.0.0.1".parse().unwrap(), 5);
        round_trip(&v4);
        assert_eq!(SocketAddress::from_raw(&v4.mapped_to_v6().to_raw()), v4);
    }

    #[test]
    fn long_names_are_told_before() {
        assert!(SocketAddress::Unix([b'x'; 107].as_slice().into()).fits());
        assert!(!SocketAddress::Unix([b'x'; 108].as_slice().into()).fits());
    }
}
