// Package suite pins the Gateway API conformance suite and the servers that its tests deploy.
//
// It is a module of its own because the suite wants a newer Go and newer Kubernetes libraries than the cluster has.
// `conformance/build` compiles both out of this module's requirements.
package suite

import _ "sigs.k8s.io/gateway-api/conformance"
