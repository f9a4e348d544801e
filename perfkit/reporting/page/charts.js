// Charts are drawn from the specs beside them; expressions are interpreted, so that no code is made.
const drawn = [...document.querySelectorAll("script.spec")].map(async (script) => {
  const place = script.parentElement.querySelector(".chart");
  try {
    const options = { actions: false, ast: true, renderer: "svg" };
    await vegaEmbed(place, JSON.parse(script.textContent), options);
    place.dataset.drawn = "yes";
  } catch (error) {
    place.textContent = `This chart could not be drawn (${error}); its numbers are in the table below.`;
    place.dataset.drawn = "no";
  }
});
Promise.all(drawn).then(() => { document.body.dataset.charts = "done"; });
