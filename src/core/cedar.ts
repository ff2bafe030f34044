/** The only door to Cedar's WebAssembly build, so that packaging and its types have one place to look at. */
export {
  type ActionConstraint,
  type CedarValueJson,
  type DetailedError,
  type EntityJson,
  type EntityUidJson,
  type PolicyJson,
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  type StatefulAuthorizationCall,
  statefulIsAuthorized,
  validate,
} from "@cedar-policy/cedar-wasm/nodejs";
