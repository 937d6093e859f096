using System.Globalization;
using TrackServer;

// Positions come in as lines "latitude longitude"; each that counts goes out with the way so far.
var track = new Track(nearMetres: 50);
while (Console.ReadLine() is { } line)
{
    var parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
    if (parts.Length == 2
        && double.TryParse(parts[0], CultureInfo.InvariantCulture, out var latitude)
        && double.TryParse(parts[1], CultureInfo.InvariantCulture, out var longitude)
        && track.Add(new Position(latitude, longitude)))
    {
        Console.WriteLine(FormattableString.Invariant($"{latitude} {longitude} {track.Metres:F0}"));
    }
}
