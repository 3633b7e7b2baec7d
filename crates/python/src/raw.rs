//! The only `unsafe` of the boundary: what PyO3 has no safe word for.
//!
//! Final `bytes` objects filled by the kernel, the `am_send` slot, calling inside a context, and sharing
//! data between Python objects that only the holder of the GIL touches. The file is long because all of it stands here, to be
//! read as a whole by whoever checks it.

use crate::operation::Operation;
#[cfg(not(feature = "abi3"))]
use crate::operation::Step;
use jackfield_engine::Body;
use pyo3::ffi;
use pyo3::prelude::*;
#[cfg(not(feature = "abi3"))]
use pyo3::types::PyTuple;
use pyo3::types::{PyBytes, PyType};
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

/// Shared data that only the thread that holds the GIL touches.
pub struct Shared<T>(Rc<T>);

// SAFETY: every method of every class of this module runs with the GIL held (the module does not declare itself free of
// it, so free-threaded builds turn the GIL on), which orders all accesses, reference counts included. The data
// inside guards itself against re-entry with `RefCell`.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(value: T) -> Shared<T> {
        Shared(Rc::new(value))
    }
}

impl<T> Shared<T> {
    /// Whether both are the same data.
    pub fn is(&self, other: &Shared<T>) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(Rc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// State of one Python object that only the holder of the GIL touches.
pub struct GilCell<T>(RefCell<T>);

// SAFETY: as for `Shared`.
unsafe impl<T> Send for GilCell<T> {}
// SAFETY: as for `Shared`.
unsafe impl<T> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub fn new(value: T) -> GilCell<T> {
        GilCell(RefCell::new(value))
    }
}

impl<T> Deref for GilCell<T> {
    type Target = RefCell<T>;
    #[inline]
    fn deref(&self) -> &RefCell<T> {
        &self.0
    }
}

#[cfg(not(feature = "abi3"))]
unsafe extern "C" {
    /// Gives the object itself: an operation is its own iterator.
    fn PyObject_SelfIter(object: *mut ffi::PyObject) -> *mut ffi::PyObject;
    /// Not in PyO3: resizes a bytes object that nobody else has seen (C API manual, "Bytes Objects").
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// A `bytes` object under construction; its length is its capacity until it is finished.
#[cfg(not(feature = "abi3"))]
pub struct BytesBody {
    object: *mut ffi::PyObject,
    filled: usize,
}

#[cfg(not(feature = "abi3"))]
impl BytesBody {
    /// The finished message.
    pub fn finish(mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut object = std::mem::replace(&mut self.object, std::ptr::null_mut());
        if object.is_null() {
            return Err(pyo3::exceptions::PyMemoryError::new_err("no memory for a large message"));
        }
        // SAFETY: `object` is a bytes object with one reference, ours, not seen by anybody yet.
        unsafe {
            if ffi::PyBytes_Size(object) as usize != self.filled
                && _PyBytes_Resize(&mut object, self.filled as ffi::Py_ssize_t) < 0
            {
                return Err(PyErr::fetch(py));
            }
            Ok(Bound::from_owned_ptr(py, object).unbind())
        }
    }
}

#[cfg(not(feature = "abi3"))]
impl Drop for BytesBody {
    fn drop(&mut self) {
        // SAFETY: null, or our only reference; the engine runs with the GIL held.
        unsafe { ffi::Py_XDECREF(self.object) };
    }
}

#[cfg(not(feature = "abi3"))]
impl Body for BytesBody {
    fn with_capacity(capacity: usize) -> Self {
        // SAFETY: the engine runs with the GIL held. The content is uninitialised until filled.
        let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity as ffi::Py_ssize_t) };
        if object.is_null() {
            // SAFETY: as above. `finish` reports the missing memory.
            unsafe { ffi::PyErr_Clear() };
        }
        BytesBody { object, filled: 0 }
    }

    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        if self.object.is_null() {
            return &mut [];
        }
        // SAFETY: the object is ours alone; the range from `filled` to its size is inside its buffer.
        unsafe {
            let size = ffi::PyBytes_Size(self.object) as usize;
            let start = ffi::PyBytes_AsString(self.object).cast::<MaybeUninit<u8>>();
            std::slice::from_raw_parts_mut(start.add(self.filled), size - self.filled)
        }
    }

    fn advance(&mut self, count: usize) {
        self.filled += count;
    }

    fn grow(&mut self, capacity: usize) {
        if !self.object.is_null() {
            // SAFETY: one reference, ours; on failure the object is freed and the pointer set to null.
            unsafe {
                if _PyBytes_Resize(&mut self.object, capacity as ffi::Py_ssize_t) < 0 {
                    ffi::PyErr_Clear();
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.filled
    }

    fn filled(&self) -> &[u8] {
        if self.object.is_null() {
            return &[];
        }
        // SAFETY: so many bytes at the beginning of the object's buffer were written.
        unsafe { std::slice::from_raw_parts(ffi::PyBytes_AsString(self.object).cast::<u8>(), self.filled) }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let spare = self.spare();
        if spare.len() < bytes.len() {
            return;
        }
        // SAFETY: the spare part is at least as long, and the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), spare.as_mut_ptr().cast(), bytes.len()) };
        self.filled += bytes.len();
    }
}

/// With the stable ABI a `bytes` object cannot be filled in place: a vector, copied at the end.
#[cfg(feature = "abi3")]
pub struct BytesBody(jackfield_engine::PlainBody);

#[cfg(feature = "abi3")]
impl BytesBody {
    pub fn finish(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(PyBytes::new(py, &self.0.into_vec()).into_any().unbind())
    }
}

#[cfg(feature = "abi3")]
impl Body for BytesBody {
    fn with_capacity(capacity: usize) -> Self {
        BytesBody(Body::with_capacity(capacity))
    }
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.0.spare()
    }
    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
    fn grow(&mut self, capacity: usize) {
        self.0.grow(capacity);
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn filled(&self) -> &[u8] {
        self.0.filled()
    }
}

/// The same object with another content of the same length, where nobody else can have seen the one before; otherwise the
/// object as it was.
#[cfg(not(feature = "abi3"))]
#[inline]
pub fn refill<'py>(object: Bound<'py, PyBytes>, content: &[u8]) -> Result<Bound<'py, PyBytes>, Bound<'py, PyBytes>> {
    // SAFETY: a live bytes object, with the GIL held.
    if unsafe { overwrite(object.as_ptr(), content) } { Ok(object) } else { Err(object) }
}

/// Gives a bytes object another content of the same length if it has one reference only; false if it has not.
#[cfg(not(feature = "abi3"))]
#[inline]
unsafe fn overwrite(object: *mut ffi::PyObject, content: &[u8]) -> bool {
    // SAFETY: the caller holds the object's only reference, or the only one to the only container that does, so no
    // variable, container, buffer or loan of anybody else leads to it: for them it is gone, and this is an object newly made
    // at the same place. Its length is the content's, which lies elsewhere, since nobody can have borrowed it. The hash is
    // the one thing derived from the content that an object keeps; -1 means unknown.
    unsafe {
        if ffi::Py_REFCNT(object) != 1 || ffi::Py_SIZE(object) as usize != content.len() {
            return false;
        }
        let data = object.cast::<ffi::PyBytesObject>();
        #[expect(deprecated, reason = "there is no other way to forget it")]
        (&raw mut (*data).ob_shash).write(-1);
        let start = (&raw mut (*data).ob_sval).cast::<u8>();
        std::ptr::copy_nonoverlapping(content.as_ptr(), start, content.len());
    }
    true
}

/// With the stable ABI the content of a `bytes` object cannot be reached: always as it was.
#[cfg(feature = "abi3")]
pub fn refill<'py>(object: Bound<'py, PyBytes>, _content: &[u8]) -> Result<Bound<'py, PyBytes>, Bound<'py, PyBytes>> {
    Err(object)
}

/// A `bytes` object lent to the engine until it is sent. Its content cannot change.
pub struct BytesLoan {
    object: Py<PyBytes>,
    data: *const u8,
    length: usize,
}

impl BytesLoan {
    pub fn new(object: &Bound<'_, PyBytes>) -> BytesLoan {
        let bytes = object.as_bytes();
        BytesLoan { data: bytes.as_ptr(), length: bytes.len(), object: object.clone().unbind() }
    }
}

impl AsRef<[u8]> for BytesLoan {
    fn as_ref(&self) -> &[u8] {
        let _ = &self.object;
        // SAFETY: the buffer of an immutable bytes object that `self.object` keeps alive.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// An instance of a named tuple with four fields, without the call of its Python `__new__`.
#[cfg(not(feature = "abi3"))]
pub fn named_tuple<'py>(class: &Bound<'py, PyType>, fields: [Bound<'py, PyAny>; 4]) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    debug_assert!(class.is_subclass_of::<PyTuple>().unwrap_or_default());
    // SAFETY: the class is a subclass of tuple, made by the library, without fields of its own beside the items: the new
    // object has room for four, is seen by nobody yet, and takes over the references.
    unsafe {
        let class = class.as_type_ptr();
        let Some(allocate) = (*class).tp_alloc else { return Err(PyErr::fetch(py)) };
        let object = allocate(class, 4);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        for (index, field) in fields.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(object, index as ffi::Py_ssize_t, field.into_ptr());
        }
        Ok(Bound::from_owned_ptr(py, object))
    }
}

/// With the stable ABI: the call.
#[cfg(feature = "abi3")]
pub fn named_tuple<'py>(class: &Bound<'py, PyType>, fields: [Bound<'py, PyAny>; 4]) -> PyResult<Bound<'py, PyAny>> {
    let [first, second, third, fourth] = fields;
    class.call1((first, second, third, fourth))
}

/// The length of the `bytes` that a tuple made by [`named_tuple`] begins with.
#[cfg(not(feature = "abi3"))]
#[inline]
pub fn first_length(object: &Bound<'_, PyAny>) -> usize {
    // SAFETY: a live tuple of four items, of which the first is a bytes object.
    unsafe { ffi::Py_SIZE(ffi::PyTuple_GET_ITEM(object.as_ptr(), 0)) as usize }
}

/// The same tuple, made by [`named_tuple`] of this class with `bytes` first, with other fields, where nobody else can have
/// seen the ones before; otherwise the object as it was. Its `bytes` are filled anew if nobody holds them alone either.
#[cfg(not(feature = "abi3"))]
#[inline]
pub fn refill_named_tuple<'py>(
    object: Bound<'py, PyAny>,
    class: &Bound<'py, PyType>,
    content: &[u8],
    others: &[Py<PyAny>; 3],
) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
    /// Since CPython 3.14 a tuple keeps its hash before its items.
    const KEEPS_HASH: bool = std::mem::offset_of!(ffi::PyTupleObject, ob_item) > size_of::<ffi::PyVarObject>();
    let (py, pointer) = (object.py(), object.as_ptr());
    // SAFETY: a live tuple of four items, with the GIL held. Its only reference is the caller's, so no variable, container or
    // iterator leads to it: for everybody else it is gone, and this is an object newly made at the same place. The same
    // holds for its bytes if the tuple alone refers to them (see `overwrite`). The tuple owns its items; what is replaced
    // is owned by the caller of `replace` then.
    unsafe {
        if ffi::Py_REFCNT(pointer) != 1 || ffi::Py_TYPE(pointer) != class.as_type_ptr() {
            return Err(object);
        }
        if KEEPS_HASH {
            pointer.cast::<ffi::PyVarObject>().add(1).cast::<ffi::Py_hash_t>().write(-1);
        }
        let replace = |index, item: Bound<'py, PyAny>| {
            let before = ffi::PyTuple_GET_ITEM(pointer, index);
            ffi::PyTuple_SET_ITEM(pointer, index, item.into_ptr());
            Bound::from_owned_ptr(py, before)
        };
        if !overwrite(ffi::PyTuple_GET_ITEM(pointer, 0), content) {
            replace(0, PyBytes::new(py, content).into_any());
        }
        // What goes may have a finalizer, which finds the tuple whole.
        let mut gone = [const { None }; 3];
        for ((index, other), gone) in (1..).zip(others).zip(&mut gone) {
            if ffi::PyTuple_GET_ITEM(pointer, index) != other.as_ptr() {
                *gone = Some(replace(index, other.bind(py).clone()));
            }
        }
    }
    Ok(object)
}

/// The stable ABI does not show a tuple's items: nothing is ever kept to be used again.
#[cfg(feature = "abi3")]
pub fn first_length(_object: &Bound<'_, PyAny>) -> usize {
    0
}

/// As above: always as it was.
#[cfg(feature = "abi3")]
pub fn refill_named_tuple<'py>(
    object: Bound<'py, PyAny>,
    _class: &Bound<'py, PyType>,
    _content: &[u8],
    _others: &[Py<PyAny>; 3],
) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
    Err(object)
}

/// Whether a callback is how asyncio's native tasks are resumed: it asks its argument for its result, and looks at nothing
/// else. CPython calls it `task_wakeup`, and makes a function of that one definition for each wait.
#[cfg(not(feature = "abi3"))]
#[inline]
pub fn resumes_native_task(callback: &Py<PyAny>) -> bool {
    use std::sync::atomic::{AtomicUsize, Ordering};
    /// The address of the definition, once seen.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    let pointer = callback.as_ptr();
    // SAFETY: a live object; if it is a function of C, its definition and the name there live as long as it does, and those
    // of a static module for ever.
    unsafe {
        if ffi::PyCFunction_CheckExact(pointer) == 0 {
            return false;
        }
        let definition = (*pointer.cast::<ffi::PyCFunctionObject>()).m_ml;
        if definition as usize == KNOWN.load(Ordering::Relaxed) {
            return true;
        }
        let name = (*definition).ml_name;
        let resumes = !name.is_null() && std::ffi::CStr::from_ptr(name) == c"task_wakeup";
        if resumes {
            KNOWN.store(definition as usize, Ordering::Relaxed);
        }
        resumes
    }
}

/// The stable ABI does not show it.
#[cfg(feature = "abi3")]
pub fn resumes_native_task(_callback: &Py<PyAny>) -> bool {
    false
}

/// Calls `callback(argument)` inside `context`, as `context.run` would.
#[cfg(not(feature = "abi3"))]
pub fn call_in_context(
    py: Python<'_>,
    context: &Py<PyAny>,
    callback: &Py<PyAny>,
    argument: &Py<PyAny>,
) -> PyResult<()> {
    // SAFETY: all are live Python objects, `context` is a contextvars.Context (PyContext_Enter checks), and every
    // successful enter is followed by an exit.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) < 0 {
            return Err(PyErr::fetch(py));
        }
        let result = ffi::PyObject_CallOneArg(callback.as_ptr(), argument.as_ptr());
        let error = if result.is_null() { Some(PyErr::fetch(py)) } else { None };
        ffi::Py_XDECREF(result);
        let exited = ffi::PyContext_Exit(context.as_ptr());
        match error {
            Some(error) => Err(error),
            None if exited < 0 => Err(PyErr::fetch(py)),
            None => Ok(()),
        }
    }
}

/// The stable ABI has no contexts: through Python.
#[cfg(feature = "abi3")]
pub fn call_in_context(
    py: Python<'_>,
    context: &Py<PyAny>,
    callback: &Py<PyAny>,
    argument: &Py<PyAny>,
) -> PyResult<()> {
    context.call_method1(py, "run", (callback, argument)).map(drop)
}

/// Installs what PyO3 has no word for in the class of operations: `am_send`, which returns a value without raising
/// StopIteration (since CPython 3.10), and a short way to the four names that a task looks up in every wait.
#[cfg(not(feature = "abi3"))]
pub fn install_slots(py: Python<'_>) {
    future_protocol::prepare(py);
    let class = py.get_type::<Operation>();
    // SAFETY: a heap type made by PyO3 with async slots (`__await__` is defined); set once, before any instance
    // exists. Nothing inherits from the class, so no slot needs to be passed on.
    unsafe {
        let class = class.as_type_ptr();
        let slots = (*class).tp_as_async;
        if !slots.is_null() {
            (*slots).am_send = Some(am_send);
            (*slots).am_await = Some(PyObject_SelfIter);
        }
        (*class).tp_getattro = Some(future_protocol::getattro);
        (*class).tp_setattro = Some(future_protocol::setattro);
        ffi::PyType_Modified(class);
    }
}

#[cfg(feature = "abi3")]
pub fn install_slots(_py: Python<'_>) {}

#[cfg(not(feature = "abi3"))]
pub use future_protocol::giving;

/// The general look-up needs no such callable.
#[cfg(feature = "abi3")]
pub fn giving(_py: Python<'_>, _value: Py<PyAny>) -> Option<Py<PyAny>> {
    None
}

/// What a task asks of a future in every wait, without the general look-up: CPython 3.11 makes a new string for
/// `result` each time, which no cache finds, and that alone is a seventh of a round trip's instructions.
#[cfg(not(feature = "abi3"))]
mod future_protocol {
    use super::{Operation, ffi};
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;
    use std::ffi::{CStr, c_int};

    /// A method definition that lives as long as the process.
    struct Method(ffi::PyMethodDef);
    // SAFETY: never written to.
    unsafe impl Sync for Method {}

    const fn method(name: &'static CStr, code: ffi::PyMethodDefPointer, flags: c_int) -> Method {
        Method(ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: code, ml_flags: flags, ml_doc: std::ptr::null() })
    }

    static RESULT: Method = method(c"result", ffi::PyMethodDefPointer { PyCFunction: result }, ffi::METH_NOARGS);
    static ITSELF: Method = method(c"itself", ffi::PyMethodDefPointer { PyCFunction: itself }, ffi::METH_NOARGS);
    static ADD_DONE_CALLBACK: Method = method(
        c"add_done_callback",
        ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: add_done_callback },
        ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    );

    /// The names as the interpreter's own strings: most look-ups come with the very same object.
    struct Names {
        blocking: usize,
        get_loop: usize,
        add_done_callback: usize,
        result: usize,
        /// Called without arguments, it gives None: the `result` of every wait that was not cancelled.
        no_result: Py<PyAny>,
    }

    static NAMES: PyOnceLock<Names> = PyOnceLock::new();

    pub fn prepare(py: Python<'_>) {
        // SAFETY: with the GIL held. Interned strings are kept for the life of the process by never letting go of them.
        NAMES.get_or_init(py, || unsafe {
            Names {
                blocking: ffi::PyUnicode_InternFromString(c"_asyncio_future_blocking".as_ptr()) as usize,
                get_loop: ffi::PyUnicode_InternFromString(c"get_loop".as_ptr()) as usize,
                add_done_callback: ffi::PyUnicode_InternFromString(c"add_done_callback".as_ptr()) as usize,
                result: ffi::PyUnicode_InternFromString(c"result".as_ptr()) as usize,
                no_result: giving(py, py.None()).unwrap_or_else(|| py.None()),
            }
        });
    }

    /// A callable that gives `value`.
    pub fn giving(py: Python<'_>, value: Py<PyAny>) -> Option<Py<PyAny>> {
        // SAFETY: the definition is static; the function holds its own reference on `value`.
        unsafe {
            let function =
                ffi::PyCFunction_NewEx((&raw const ITSELF.0).cast_mut(), value.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_opt(py, function).map(Bound::unbind)
        }
    }

    unsafe extern "C" fn itself(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: the interpreter passes the object that the function was made with.
        unsafe {
            ffi::Py_INCREF(object);
            object
        }
    }

    enum Name {
        Blocking,
        GetLoop,
        AddDoneCallback,
        Result,
        Other,
    }

    unsafe fn look_up(names: &Names, name: *mut ffi::PyObject) -> Name {
        let address = name as usize;
        if address == names.blocking {
            return Name::Blocking;
        }
        if address == names.get_loop {
            return Name::GetLoop;
        }
        if address == names.add_done_callback {
            return Name::AddDoneCallback;
        }
        // CPython 3.11 looks `result` up by a string that it has just made.
        // SAFETY: `name` is a str.
        if address == names.result || unsafe { name_of(name) } == b"result" { Name::Result } else { Name::Other }
    }

    /// The bytes of an ASCII name.
    unsafe fn name_of<'a>(name: *mut ffi::PyObject) -> &'a [u8] {
        // SAFETY: the interpreter passes a str, whose UTF-8 form lives as long as it does.
        unsafe {
            let mut length = 0;
            let text = ffi::PyUnicode_AsUTF8AndSize(name, &mut length);
            if text.is_null() {
                ffi::PyErr_Clear();
                return &[];
            }
            std::slice::from_raw_parts(text.cast(), length as usize)
        }
    }

    unsafe fn operation<'a>(py: Python<'a>, object: &'a *mut ffi::PyObject) -> &'a Operation {
        // SAFETY: a slot or method of the class is only called with an instance of it, which the caller holds.
        unsafe { Bound::ref_from_ptr(py, object).cast_unchecked::<Operation>().get() }
    }

    pub unsafe extern "C" fn getattro(object: *mut ffi::PyObject, name: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: called by the interpreter with an instance, a str, and the GIL held.
        unsafe {
            let py = Python::assume_attached();
            let Some(names) = NAMES.get(py) else { return ffi::PyObject_GenericGetAttr(object, name) };
            let method = match look_up(names, name) {
                Name::Blocking => {
                    let value = match operation(py, &object).is_blocking() {
                        Some(true) => ffi::Py_True(),
                        Some(false) => ffi::Py_False(),
                        None => ffi::Py_None(),
                    };
                    ffi::Py_INCREF(value);
                    return value;
                }
                Name::GetLoop => match operation(py, &object).loop_getter(py) {
                    Some(getter) => return getter.into_ptr(),
                    None => return ffi::PyObject_GenericGetAttr(object, name),
                },
                Name::Result if !operation(py, &object).is_cancelled() => {
                    return names.no_result.clone_ref(py).into_ptr();
                }
                Name::Result => &RESULT,
                Name::AddDoneCallback => &ADD_DONE_CALLBACK,
                Name::Other => return ffi::PyObject_GenericGetAttr(object, name),
            };
            ffi::PyCFunction_NewEx((&raw const method.0).cast_mut(), object, std::ptr::null_mut())
        }
    }

    pub unsafe extern "C" fn setattro(
        object: *mut ffi::PyObject,
        name: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
    ) -> c_int {
        // SAFETY: as for `getattro`; a null value means deletion.
        unsafe {
            let py = Python::assume_attached();
            let blocking = NAMES.get(py).is_some_and(|names| name as usize == names.blocking)
                || name_of(name) == b"_asyncio_future_blocking";
            if !value.is_null() && blocking {
                operation(py, &object).set_blocking(value == ffi::Py_True());
                return 0;
            }
            ffi::PyObject_GenericSetAttr(object, name, value)
        }
    }

    unsafe extern "C" fn result(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: as for `getattro`.
        unsafe {
            let py = Python::assume_attached();
            match operation(py, &object).result(py) {
                Ok(()) => {
                    let none = ffi::Py_None();
                    ffi::Py_INCREF(none);
                    none
                }
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        }
    }

    unsafe extern "C" fn add_done_callback(
        object: *mut ffi::PyObject,
        arguments: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: as for `getattro`; the vector holds `count` positional arguments, then one for each name.
        unsafe {
            let py = Python::assume_attached();
            let named = if names.is_null() { 0 } else { ffi::PyTuple_Size(names) };
            let known =
                count == 1 && (named == 0 || named == 1 && name_of(ffi::PyTuple_GetItem(names, 0)) == b"context");
            if !known {
                let error = "add_done_callback takes a callback and the keyword context";
                pyo3::exceptions::PyTypeError::new_err(error).restore(py);
                return std::ptr::null_mut();
            }
            let callback = Bound::from_borrowed_ptr(py, *arguments).unbind();
            let context = (named == 1).then(|| Bound::from_borrowed_ptr(py, *arguments.add(1)).unbind());
            match operation(py, &object).add_done_callback(py, callback, context) {
                Ok(()) => py.None().into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        }
    }
}

#[cfg(not(feature = "abi3"))]
unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter calls the slot with an instance of the class, the GIL held and a place for the result.
    unsafe {
        let py = Python::assume_attached();
        let operation = Bound::from_borrowed_ptr(py, object).cast_into_unchecked::<Operation>();
        if operation.get().in_turn() {
            return send_step(py, &operation, result);
        }
        send_step_outside(&operation, result)
    }
}

/// Outside of a turn PyO3 has to be told that the GIL is held. Otherwise references that are let go of here are noted down
/// under a lock for later, which keeps alive what they hold and costs more than all else.
#[cfg(not(feature = "abi3"))]
#[inline(never)]
unsafe fn send_step_outside(operation: &Bound<'_, Operation>, result: *mut *mut ffi::PyObject) -> ffi::PySendResult {
    // SAFETY: the caller's.
    Python::attach(|py| unsafe { send_step(py, operation, result) })
}

/// What `am_send` does.
#[cfg(not(feature = "abi3"))]
#[inline(always)]
unsafe fn send_step(
    py: Python<'_>,
    operation: &Bound<'_, Operation>,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Operation::step(operation)));
    let (value, outcome) = match step {
        Ok(Ok(Step::Return(value))) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
        Ok(Ok(Step::Yield(value))) => (value.into_ptr(), ffi::PySendResult::PYGEN_NEXT),
        Ok(Err(error)) => {
            error.restore(py);
            (std::ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR)
        }
        Err(_) => {
            pyo3::exceptions::PySystemError::new_err("the engine panicked; please report this").restore(py);
            (std::ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR)
        }
    };
    // SAFETY: the caller's, a place for a pointer.
    unsafe { result.write(value) };
    outcome
}

/// This thread, as a number that no other living thread has.
#[inline]
pub fn this_thread() -> usize {
    // SAFETY: always succeeds (pthread_self(3)).
    unsafe { libc::pthread_self() as usize }
}

/// Whether nobody but the caller holds a reference.
#[inline]
pub fn is_unique(object: &Py<Operation>) -> bool {
    // SAFETY: reads the reference count of a live object with the GIL held.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// A closure for `Python::detach`, which runs it on the same thread but asks for `Send` all the same.
pub struct SameThread<'a>(pub &'a mut dyn FnMut() -> jackfield_engine::sys::Result<usize>);

// SAFETY: `Python::detach` calls the closure on the calling thread.
unsafe impl Send for SameThread<'_> {}

impl SameThread<'_> {
    pub fn run(self) -> jackfield_engine::sys::Result<usize> {
        (self.0)()
    }
}

/// A descriptor that Python hands over; `None` for a number that cannot be one.
pub fn own_descriptor(fd: i32) -> Option<OwnedFd> {
    // SAFETY: the caller gives the descriptor up; if it is not open, every use of it fails with EBADF.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a descriptor away.
pub fn give_descriptor(fd: OwnedFd) -> i32 {
    fd.into_raw_fd()
}

/// A copy of a descriptor of the caller's, closed on exec (fcntl(2), F_DUPFD_CLOEXEC).
pub fn duplicate(fd: i32) -> jackfield_engine::sys::Result<OwnedFd> {
    // SAFETY: no pointers; a number that is no open descriptor is refused.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    own_descriptor(copy).ok_or_else(jackfield_engine::sys::Errno::last)
}
