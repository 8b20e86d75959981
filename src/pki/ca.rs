//! A certificate authority and what it signs. All keys are ECDSA P-256.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::Error;

/// Years that an authority is valid, as with kubeadm.
const CA_YEARS: i16 = 10;
/// Days that a leaf is valid: minikube's default of `--cert-expiration`.
pub(crate) const LEAF_DAYS: i64 = 1095;

/// Signs certificates; holds the private key.
pub struct Ca {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

/// A certificate and its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    pub cert_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

/// User and groups, as the API server reads them from a client certificate.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user: CN.
    pub user: &'a str,
    /// Groups: O, one each.
    pub groups: &'a [&'a str],
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    pub common_name: String,
    pub organizations: Vec<String>,
    /// Names and addresses as text.
    pub sans: Vec<String>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    pub is_ca: bool,
}

impl Ca {
    /// A new self-signed authority.
    ///
    /// # Errors
    /// [`Error::Issue`] when the system gives no random numbers.
    pub fn generate(common_name: &str) -> Result<Self, Error> {
        let failed = |source| Error::Issue {
            subject: common_name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(
            Subject {
                user: common_name,
                groups: &[],
            },
            CA_YEARS as i64 * 365,
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        let cert_pem = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Ca {
            cert_pem,
            key_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// An authority that was stored.
    ///
    /// # Errors
    /// [`Error::ReadPem`] when one of the two is no PEM of its kind.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem).map_err(|source| Error::ReadPem {
            what: "authority's private key".into(),
            source,
        })?;
        let issuer = Issuer::from_ca_cert_pem(cert_pem, key).map_err(|source| Error::ReadPem {
            what: "authority's certificate".into(),
            source,
        })?;
        Ok(Ca {
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            issuer,
        })
    }

    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key: whoever has it can be anyone in the cluster.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A client certificate.
    ///
    /// # Errors
    /// [`Error::Issue`]
    pub fn client(&self, subject: Subject<'_>) -> Result<Leaf, Error> {
        self.leaf(subject, &[], &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A server certificate for `sans`: host names and IP addresses; repeated
    /// ones count once.
    ///
    /// # Errors
    /// [`Error::Issue`] when a name is no ASCII text.
    pub fn server(&self, subject: Subject<'_>, sans: &[String]) -> Result<Leaf, Error> {
        self.leaf(subject, sans, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn leaf(
        &self,
        subject: Subject<'_>,
        sans: &[String],
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<Leaf, Error> {
        let failed = |source| Error::Issue {
            subject: subject.user.to_owned(),
            source,
        };
        let mut unique: Vec<String> = Vec::with_capacity(sans.len());
        for san in sans {
            if !unique.contains(san) {
                unique.push(san.clone());
            }
        }
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(subject, LEAF_DAYS);
        params.subject_alt_names = CertificateParams::new(unique).map_err(failed)?.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Leaf {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Valid from yesterday, so that a clock that is behind does not matter.
fn params(subject: Subject<'_>, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for group in subject.groups {
        name.push(DnType::OrganizationName, *group);
    }
    name.push(DnType::CommonName, subject.user);
    params.distinguished_name = name;
    let today = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let day = |offset: i64| {
        let date = today.saturating_add(jiff::Span::new().days(offset));
        date_time_ymd(
            i32::from(date.year()),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = day(-1);
    params.not_after = day(days);
    params
}

/// Reads the first certificate of a PEM text.
///
/// # Errors
/// [`Error::Parse`]
pub fn inspect(cert_pem: &str) -> Result<CertificateInfo, Error> {
    use x509_parser::extensions::GeneralName;

    let (_, pem) =
        x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|e| Error::Parse(e.to_string()))?;
    let cert = pem.parse_x509().map_err(|e| Error::Parse(e.to_string()))?;
    let texts = |attributes: Vec<&str>| attributes.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let subject = cert.subject();
    let sans = match cert.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => match bytes.len() {
                    4 => <[u8; 4]>::try_from(*bytes)
                        .ok()
                        .map(|b| std::net::Ipv4Addr::from(b).to_string()),
                    16 => <[u8; 16]>::try_from(*bytes)
                        .ok()
                        .map(|b| std::net::Ipv6Addr::from(b).to_string()),
                    _ => None,
                },
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    Ok(CertificateInfo {
        common_name: texts(
            subject
                .iter_common_name()
                .filter_map(|a| a.as_str().ok())
                .collect(),
        )
        .join(","),
        organizations: texts(
            subject
                .iter_organization()
                .filter_map(|a| a.as_str().ok())
                .collect(),
        ),
        sans,
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
        is_ca: cert.is_ca(),
    })
}
