// Where an image is dropped, pasted or chosen, on the pages that segment one. A plain script, since
// a page from a folder can load no modules.
// Calls `take` with each file.
function listenForImages(take) {
  const place = document.getElementById('drop');
  const chooser = document.getElementById('file');
  chooser.addEventListener('change', (event) => take(event.target.files[0]));
  place.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') chooser.click();
  });
  for (const name of ['dragover', 'dragleave', 'drop']) {
    addEventListener(name, (event) => {
      event.preventDefault();
      place.classList.toggle('over', name === 'dragover');
      if (name === 'drop') take(event.dataTransfer.files[0]);
    });
  }
  addEventListener('paste', (event) => take([...event.clipboardData.files][0]));
}
