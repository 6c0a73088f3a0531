// The page that asks what is to be drawn, before the review begins.

const find = (id) => document.getElementById(id);

function say(text, bad = false) {
  find('status').textContent = text;
  find('status').className = bad ? 'bad' : '';
}

find('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const names = find('names').value.split(',').map((name) => name.trim()).filter(Boolean);
  say('Opening the images …');
  try {
    const response = await fetch('api/classes', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ names }),
    });
    if (!response.ok) throw new Error((await response.json()).error);
    location.reload();
  } catch (error) {
    say(error.message || 'the server cannot be reached.', true);
  }
});
