//! The gate every request passes before anything else looks at it.

use super::error::RequestError;
use super::head::{RequestHead, TargetForm, Version};
use super::normalize::normalize;
use gwanmun_ir::HttpOptions;
use http::Method;

/// Admits a request and brings its path into normal form. A path that is in normal form already
/// costs one scan.
///
/// # Errors
/// The answer to give; the connection is closed after it.
pub(crate) fn admit(head: &mut RequestHead, options: &HttpOptions) -> Result<(), RequestError> {
    if head.version == Version::Http10 && !options.accept_http10 {
        return Err(RequestError::low_version());
    }
    if head.missing_host {
        return Err(RequestError::missing_host());
    }
    match head.form {
        TargetForm::Asterisk => return Err(RequestError::absolute_path()),
        TargetForm::Authority => return Err(RequestError::connect()),
        TargetForm::Origin if head.method == Method::CONNECT => {
            return Err(RequestError::connect());
        }
        TargetForm::Origin => {}
    }
    match normalize(head.target(), options.path_normalization) {
        Ok(None) => Ok(()),
        Ok(Some(target)) => {
            head.set_target(&target);
            Ok(())
        }
        Err(_unnormal) => Err(RequestError::path_normalization()),
    }
}

#[cfg(test)]
mod tests {
    use super::admit;
    use crate::http::{RequestHead, h1};
    use bytes::BytesMut;
    use gwanmun_ir::{HostRule, HttpOptions, PathNormalization};

    fn options(accept_http10: bool) -> HttpOptions {
        HttpOptions {
            forward_client_cert: gwanmun_ir::ForwardClientCert::SanitizeSet,
            host_rule: HostRule::Exclusive,
            path_normalization: PathNormalization::Base,
            trusted_hops: 0,
            detect_misdirected: false,
            accept_http10,
        }
    }

    fn head(text: &str) -> RequestHead {
        h1::RequestParser::new(h1::HeadLimits::REQUEST, false)
            .parse(&mut BytesMut::from(text))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn refusals_are_envoys() {
        for (text, http10, status, body, details) in [
            (
                "GET / HTTP/1.0\r\n\r\n",
                false,
                426,
                "Upgrade Required",
                "low_version",
            ),
            (
                "GET / HTTP/1.0\r\n\r\n",
                true,
                400,
                "",
                "missing_host_header",
            ),
            (
                "GET / HTTP/1.1\r\n\r\n",
                false,
                400,
                "",
                "missing_host_header",
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                false,
                404,
                "",
                "absolute_path_rejected",
            ),
            (
                "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
                false,
                404,
                "",
                "route_not_found",
            ),
            (
                "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
                false,
                400,
                "",
                "path_normalization_failed",
            ),
        ] {
            let error = admit(&mut head(text), &options(http10)).unwrap_err();
            assert_eq!(
                (error.status, error.body, error.details),
                (status, body, details),
                "{text}"
            );
        }
    }

    #[test]
    fn paths_are_normal_afterwards() {
        let mut head = head("GET /a/../b%41?c=%41#d HTTP/1.1\r\nHost: a\r\n\r\n");
        admit(&mut head, &options(false)).unwrap();
        assert_eq!(head.path(), "/bA");
        assert_eq!(head.query(), Some("c=%41"));
        assert!(!head.is_rewritten());
    }
}
