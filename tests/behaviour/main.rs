//! Behaviour of the real binary, asked as users ask it: with files, signals, `curl` and `openssl`.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod following;
#[cfg(test)]
mod gateway_backend_tls;
#[cfg(test)]
mod gateway_l4;
#[cfg(test)]
mod gateway_tls;
#[cfg(test)]
mod istio_l4;
#[cfg(test)]
mod istio_tls;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod support;
