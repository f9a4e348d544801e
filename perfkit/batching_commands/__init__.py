"""The commands of ``perfkit batching`` that simulate: options as frozen values, a module each."""
