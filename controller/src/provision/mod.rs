//! Placeholder until provisioning lands.
use gwanmun_api::ObjectKey;
use gwanmun_translate::Infrastructure;
use kube::Client;
use tokio::sync::mpsc;
pub(crate) struct Settings {
    pub(crate) image: String,
    pub(crate) controller: String,
    pub(crate) port: u16,
}
pub(crate) struct Provisioner;
impl Provisioner {
    pub(crate) fn new(
        _client: Client,
        _settings: Settings,
    ) -> (Self, mpsc::UnboundedReceiver<(ObjectKey, Vec<String>)>) {
        (Self, mpsc::unbounded_channel().1)
    }
    pub(crate) fn set(&mut self, _gateway: ObjectKey, _wanted: Option<Infrastructure>) {}
    pub(crate) fn set_bundle(&mut self, _pem: &str) {}
    pub(crate) fn set_leading(&mut self, _leads: bool) {}
}
