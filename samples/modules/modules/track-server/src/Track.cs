namespace TrackServer;

public readonly record struct Position(double Latitude, double Longitude);

/// <summary>Where a ship has been; a position close to the last one adds nothing.</summary>
public sealed class Track(double nearMetres)
{
    private const double MetresPerDegree = 111_195;
    private readonly List<Position> _positions = [];

    public IReadOnlyList<Position> Positions => _positions;

    public double Metres { get; private set; }

    /// <returns>Whether the position was added.</returns>
    public bool Add(Position position)
    {
        if (_positions.Count > 0)
        {
            var metres = Distance(_positions[^1], position);
            if (metres < nearMetres)
            {
                return false;
            }
            Metres += metres;
        }
        _positions.Add(position);
        return true;
    }

    /// <summary>On a plane, which is near enough for positions minutes apart.</summary>
    private static double Distance(Position from, Position to)
    {
        var north = (to.Latitude - from.Latitude) * MetresPerDegree;
        var east = (to.Longitude - from.Longitude) * MetresPerDegree * Math.Cos(from.Latitude * Math.PI / 180);
        return Math.Sqrt((north * north) + (east * east));
    }
}
