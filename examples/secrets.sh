#!/usr/bin/env bash
# Makes the certificates that the examples name and writes them as Secret manifests, with their certification authority as a
# ConfigMap, and for curl's --cacert beside them:  examples/secrets.sh DIRECTORY
set -euo pipefail
out=${1:?usage: examples/secrets.sh DIRECTORY}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/O=example Inc./CN=example.com" \
    -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$work/ca.key" -out "$out/ca.crt" 2>/dev/null

# What strict clients (Python 3.13, for one) want to find in certificates.
extensions='basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid'

# certificate HOST...: tls.crt and tls.key for the hosts
certificate() {
    local host=$1 names
    names=$(printf ',DNS:%s' "$@")
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=example Inc./CN=$host" \
        -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
    openssl x509 -req -in "$work/tls.csr" -CA "$out/ca.crt" -CAkey "$work/ca.key" -CAserial "$work/ca.srl" -CAcreateserial -days 30 \
        -extfile <(printf '%s\n' "subjectAltName=${names#,}" "$extensions") -out "$work/tls.crt" 2>/dev/null
}

# secret NAMESPACE NAME HOST...
secret() {
    local namespace=$1 name=$2
    shift 2
    certificate "$@"
    cat >"$out/$name.yaml" <<YAML
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata:
  name: $name
  namespace: $namespace
data:
  tls.crt: $(base64 -w0 <"$work/tls.crt")
  tls.key: $(base64 -w0 <"$work/tls.key")
YAML
}

secret istio-system httpbin-credential httpbin.example.com
secret default foo-example-com-cert foo.example.com
secret default wildcard-example-com-cert '*.wildcard.example.com'
secret default clients-example-com-cert clients.example.com
secret default terminated-example-com-cert terminated.example.com
secret default secure-svc-cert secure.example.com
secret istio-system store-credential store.example.com
secret istio-system catalog-credential catalog.example.com
secret istio-system webapp-credential-mtls webapp.example.com
echo "  ca.crt: $(base64 -w0 <"$out/ca.crt")" >>"$out/webapp-credential-mtls.yaml"

# For gateways that verify clients or backends.
cat >"$out/example-ca.yaml" <<YAML
apiVersion: v1
kind: ConfigMap
metadata:
  name: example-ca
  namespace: default
data:
  ca.crt: |
$(sed 's/^/    /' "$out/ca.crt")
YAML

# For clients that have to show a certificate.
certificate client.example.com
cp "$work/tls.crt" "$out/client.crt"
cp "$work/tls.key" "$out/client.key"
chmod 600 "$out/client.key"
chmod 600 "$out"/*.yaml
