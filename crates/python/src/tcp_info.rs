//! TCP_INFO as Python's numbers, by the engine's names.

use jackfield_engine::sys::tcp_info::TcpInfo;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Every field by name; None for what this kernel does not tell.
pub fn fields<'py>(py: Python<'py>, info: &TcpInfo) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    macro_rules! set {
        ($($name:ident),*) => { $(fields.set_item(stringify!($name), info.$name)?;)* };
    }
    set!(state, congestion_state, retransmits, probes, backoff, rto_us, send_mss, receive_mss, unacked, lost);
    set!(retransmitted, last_data_sent_ms, last_data_received_ms, last_ack_received_ms, path_mtu, rtt_us);
    set!(rtt_variation_us, congestion_window, receive_rtt_us, total_retransmits, pacing_rate, bytes_acked);
    set!(bytes_received, not_sent, smallest_rtt_us, delivery_rate, busy_us, window_limited_us, buffer_limited_us);
    set!(bytes_sent, bytes_retransmitted, send_window, receive_window);
    Ok(fields)
}
