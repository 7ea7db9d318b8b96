//! What is counted of certificates: how long those that are shown are good, and how orders of new ones end.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::family::{Family, Kind, family};
use crate::metrics::{counter, gauge};

pub(super) const FAMILIES: &[Family] = &[
    family(
        "forebay_proxy_certificate_expiry_seconds",
        Kind::Gauge,
        &["listener", "certificate"],
        "When a certificate that is shown expires, in seconds since 1970: certificate is its file, or the name an \
         ACME authority is asked for; 0 while that has issued none.",
    ),
    family(
        "forebay_proxy_acme_orders_total",
        Kind::Counter,
        &["host", "result"],
        "Certificates ordered from ACME authorities: result is issued, refused (the authority said no, or the name was not \
         proved) or unreachable.",
    ),
    family(
        "forebay_proxy_acme_failures",
        Kind::Gauge,
        &["host"],
        "Orders of a name's certificate that failed one after the other; 0 once one was issued.",
    ),
    family(
        "forebay_proxy_ocsp_fetches_total",
        Kind::Counter,
        &["result"],
        "Responders asked about certificates (ocsp_stapling): result is good (it is stapled), revoked, refused (not about this \
         certificate, not signed by who may, or over) or unreachable.",
    ),
    family(
        "forebay_proxy_ocsp_expiry_seconds",
        Kind::Gauge,
        &["listener", "certificate"],
        "When the OCSP response that is sent with a certificate is over, in seconds since 1970; 0 while none is sent.",
    ),
];

pub struct CertificateMetrics {
    pub expiry: IntGaugeVec,
    pub orders: IntCounterVec,
    pub failures: IntGaugeVec,
    pub ocsp_fetches: IntCounterVec,
    pub ocsp_expiry: IntGaugeVec,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> CertificateMetrics {
        CertificateMetrics {
            expiry: gauge(registry, "forebay_proxy_certificate_expiry_seconds"),
            orders: counter(registry, "forebay_proxy_acme_orders_total"),
            failures: gauge(registry, "forebay_proxy_acme_failures"),
            ocsp_fetches: counter(registry, "forebay_proxy_ocsp_fetches_total"),
            ocsp_expiry: gauge(registry, "forebay_proxy_ocsp_expiry_seconds"),
        }
    }
}
