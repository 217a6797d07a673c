// A module: what it defines at its top level is what it offers.
function temperature() {
  return storage.global.limit || 30;
}
