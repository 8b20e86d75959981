//! The ciphers: `aescbc`, `aesgcm` and `secretbox`, in upstream's forms.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AeadInPlace as _, AesGcm, KeyInit as _, aead::consts::U12};
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _, block_padding::Pkcs7};
use crypto_secretbox::{XSalsa20Poly1305, aead::Aead as _};
use rand::RngCore as _;

/// What every encrypted value begins with.
pub(super) const PREFIX: &[u8] = b"k8s:enc:";

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    AesCbc,
    AesGcm,
    SecretBox,
}

impl Algorithm {
    /// As in configurations and prefixes.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Algorithm::AesCbc => "aescbc",
            Algorithm::AesGcm => "aesgcm",
            Algorithm::SecretBox => "secretbox",
        }
    }

    /// Lengths in bytes that a key may have.
    pub(super) fn key_lengths(self) -> &'static [usize] {
        match self {
            Algorithm::SecretBox => &[32],
            _ => &[16, 24, 32],
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Appends the sealed form of `plain`. `context` is what AES-GCM authenticates beside it: the key of
/// the value in the store. `None` when the key has a wrong length.
pub(super) fn seal(
    algorithm: Algorithm,
    key: &[u8],
    context: &str,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    match algorithm {
        Algorithm::AesCbc => {
            let iv: [u8; 16] = random();
            out.extend_from_slice(&iv);
            let sealed = match key.len() {
                16 => cbc::Encryptor::<Aes128>::new_from_slices(key, &iv)
                    .ok()?
                    .encrypt_padded_vec_mut::<Pkcs7>(plain),
                24 => cbc::Encryptor::<Aes192>::new_from_slices(key, &iv)
                    .ok()?
                    .encrypt_padded_vec_mut::<Pkcs7>(plain),
                _ => cbc::Encryptor::<Aes256>::new_from_slices(key, &iv)
                    .ok()?
                    .encrypt_padded_vec_mut::<Pkcs7>(plain),
            };
            out.extend(sealed);
        }
        Algorithm::AesGcm => {
            let nonce: [u8; 12] = random();
            out.extend_from_slice(&nonce);
            let mut sealed = plain.to_vec();
            let (nonce, context) = (&nonce.into(), context.as_bytes());
            match key.len() {
                16 => AesGcm::<Aes128, U12>::new_from_slice(key).ok()?.encrypt_in_place(
                    nonce,
                    context,
                    &mut sealed,
                ),
                24 => AesGcm::<Aes192, U12>::new_from_slice(key).ok()?.encrypt_in_place(
                    nonce,
                    context,
                    &mut sealed,
                ),
                _ => AesGcm::<Aes256, U12>::new_from_slice(key).ok()?.encrypt_in_place(
                    nonce,
                    context,
                    &mut sealed,
                ),
            }
            .ok()?;
            out.extend(sealed);
        }
        Algorithm::SecretBox => {
            let nonce: [u8; 24] = random();
            out.extend_from_slice(&nonce);
            let sealed = XSalsa20Poly1305::new_from_slice(key)
                .ok()?
                .encrypt(&nonce.into(), plain)
                .ok()?;
            out.extend(sealed);
        }
    }
    Some(())
}

/// The plain form of what [`seal`] made; `None` when it is not of this key.
pub(super) fn open(algorithm: Algorithm, key: &[u8], context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        Algorithm::AesCbc => {
            let (iv, body) = sealed.split_at_checked(16)?;
            match key.len() {
                16 => cbc::Decryptor::<Aes128>::new_from_slices(key, iv)
                    .ok()?
                    .decrypt_padded_vec_mut::<Pkcs7>(body)
                    .ok(),
                24 => cbc::Decryptor::<Aes192>::new_from_slices(key, iv)
                    .ok()?
                    .decrypt_padded_vec_mut::<Pkcs7>(body)
                    .ok(),
                _ => cbc::Decryptor::<Aes256>::new_from_slices(key, iv)
                    .ok()?
                    .decrypt_padded_vec_mut::<Pkcs7>(body)
                    .ok(),
            }
        }
        Algorithm::AesGcm => {
            let (nonce, body) = sealed.split_at_checked(12)?;
            let nonce: [u8; 12] = nonce.try_into().ok()?;
            let mut plain = body.to_vec();
            let (nonce, context) = (&nonce.into(), context.as_bytes());
            match key.len() {
                16 => AesGcm::<Aes128, U12>::new_from_slice(key)
                    .ok()?
                    .decrypt_in_place(nonce, context, &mut plain),
                24 => AesGcm::<Aes192, U12>::new_from_slice(key)
                    .ok()?
                    .decrypt_in_place(nonce, context, &mut plain),
                _ => AesGcm::<Aes256, U12>::new_from_slice(key)
                    .ok()?
                    .decrypt_in_place(nonce, context, &mut plain),
            }
            .ok()?;
            Some(plain)
        }
        Algorithm::SecretBox => {
            let (nonce, body) = sealed.split_at_checked(24)?;
            let nonce: [u8; 24] = nonce.try_into().ok()?;
            XSalsa20Poly1305::new_from_slice(key)
                .ok()?
                .decrypt(&nonce.into(), body)
                .ok()
        }
    }
}
