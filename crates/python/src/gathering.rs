//! DATA frames of a native client that came one after the other on one stream, as one event: see `Published`.

use crate::core::SharedCore;
use crate::member::Member;
use jackfield_engine::LinkId;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Payloads in the events of one receive: then others have their turn.
pub const MOST: usize = 2048;
/// Of a frame: stream u32, kind u8, flags u8, reserved u16.
const HEADER: usize = 8;
/// Kind DATA without flags, and what is reserved.
const WHOLE_DATA: [u8; 4] = [2, 0, 0, 0];

/// What a native client has sent on one stream, each payload from one DATA frame without flags.
#[pyclass(frozen, module = "jackfield")]
pub struct Published {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
    /// The number of the stream.
    #[pyo3(get)]
    stream: u32,
    /// In the order in which they came; at least one.
    #[pyo3(get)]
    payloads: Py<PyList>,
}

#[pymethods]
impl Published {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("member", "stream", "payloads")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let count = self.payloads.bind(py).len();
        Ok(format!("Published({}, {}, {count} payloads)", self.member.bind(py).repr()?, self.stream))
    }
}

/// The event that the next frame may belong to.
#[derive(Default)]
pub struct Gathering(Option<(LinkId, u32, Py<PyList>)>);

impl Gathering {
    /// Adds a message to the event before it, if it is a frame of the same member and stream. What is not ends that.
    pub fn add(&mut self, py: Python<'_>, id: LinkId, message: &[u8]) -> PyResult<bool> {
        let Some((of, stream, payloads)) = &self.0 else { return Ok(false) };
        if *of != id || data_on(message) != Some(*stream) {
            self.0 = None;
            return Ok(false);
        }
        payloads.bind(py).append(PyBytes::new(py, &message[HEADER..]))?;
        Ok(true)
    }

    /// What comes next does not belong to the event before it.
    pub fn end(&mut self) {
        self.0 = None;
    }

    /// An event of one frame, which others may be added to. None: `message` is no such frame.
    pub fn begin(
        &mut self,
        py: Python<'_>,
        core: &SharedCore,
        id: LinkId,
        message: &[u8],
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(stream) = data_on(message) else { return Ok(None) };
        if core.reactor()?.is_native(id) != Some(true) {
            return Ok(None);
        }
        let member = Py::new(py, Member::new(core, id))?;
        let payloads = PyList::new(py, [PyBytes::new(py, &message[HEADER..])])?.unbind();
        self.0 = Some((id, stream, payloads.clone_ref(py)));
        Ok(Some(Py::new(py, Published { member, stream, payloads })?.into_any()))
    }
}

/// The stream of a message that looks like a DATA frame without flags.
fn data_on(message: &[u8]) -> Option<u32> {
    let (head, rest) = message.split_first_chunk::<4>()?;
    rest.starts_with(&WHOLE_DATA).then(|| u32::from_be_bytes(*head))
}
