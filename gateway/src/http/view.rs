//! What routing reads of a [`RequestHead`].

use super::head::RequestHead;
use crate::route::RequestView;
use std::borrow::Cow;

impl RequestView for RequestHead {
    fn method(&self) -> &str {
        self.method()
    }

    fn scheme(&self) -> &str {
        self.scheme().as_str()
    }

    fn authority(&self) -> &str {
        self.authority()
    }

    fn host(&self) -> &str {
        self.host()
    }

    fn path(&self) -> &str {
        self.path()
    }

    fn query(&self) -> Option<&str> {
        self.query()
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.header_joined(name)
    }

    fn is_grpc(&self) -> bool {
        self.is_grpc()
    }
}
