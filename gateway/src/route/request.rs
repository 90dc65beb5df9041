//! What routing reads of a request.

use std::borrow::Cow;

/// What routing reads of a request: implemented by the codec's head, and by tests.
pub(crate) trait RequestView {
    /// `:method`.
    fn method(&self) -> &str;
    /// `:scheme`.
    fn scheme(&self) -> &str;
    /// `:authority` as sent.
    fn authority(&self) -> &str;
    /// Host of the authority: lower case, without port.
    fn host(&self) -> &str;
    /// Normalised path, without query.
    fn path(&self) -> &str;
    /// Query, without `?`.
    fn query(&self) -> Option<&str>;
    /// Value of a field by its lower-case name; several fields are joined with `,`.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// Whether the content type is `application/grpc` or `application/grpc+…`.
    fn is_grpc(&self) -> bool;
}
